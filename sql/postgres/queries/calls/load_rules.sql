-- grain: at most one row: the rules of the last derivation, which are in force
select call_derivations.rules_json
from call_derivations
order by call_derivations.id desc
limit 1
