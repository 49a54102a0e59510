-- grain: one row per active strategy version, all or those named
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
where
    strategies.is_active
    and (%(names)s::text [] is null or strategies.name = any(%(names)s::text []))
order by strategies.name, strategies.version
