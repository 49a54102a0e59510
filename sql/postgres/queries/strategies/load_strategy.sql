-- grain: at most one row
-- keys: name, version
select
    strategies.id as strategy_id,
    strategies.name,
    strategies.version,
    strategies.category,
    strategies.config_json,
    strategies.config_hash,
    strategies.is_active
from strategies
where strategies.name = %(name)s and strategies.version = %(version)s
