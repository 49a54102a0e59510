-- grain: one row
insert into call_derivations (rules_json, counts_json)
values (%(rules_json)s, %(counts_json)s)
