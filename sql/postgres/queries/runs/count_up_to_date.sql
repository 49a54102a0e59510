-- grain: one month of one token that has current backtests
-- keys: chain, address, month
-- units: month = YYYY-MM, UTC; counts of runs
-- upstream: simulation_runs, tokens
with current_runs as (
    select
        id,
        token_id,
        config_hash,
        engine_version,
        to_char(window_start at time zone 'UTC', 'YYYY-MM') as month
    from simulation_runs
    where
        run_type = 'backtest'
        and status = 'completed'
        and superseded_by is null
        and token_id is not null
),

up_to_date_runs as (
    select id
    from current_runs
    where
        config_hash = any(%(config_hashes)s::text [])
        and engine_version = any(%(engine_versions)s::text [])
)

select
    tokens.chain,
    tokens.address,
    current_runs.month,
    count(up_to_date_runs.id) as up_to_date_count
from current_runs
inner join tokens on current_runs.token_id = tokens.id
left join up_to_date_runs on current_runs.id = up_to_date_runs.id
group by tokens.chain, tokens.address, current_runs.month
order by tokens.chain, tokens.address, current_runs.month
