-- Runs, the best ranked first, then the newest.
-- grain: one row per run; row_count is the number of rows without the limit
-- keys: simulation_run_id
-- parameters: sort, a name below or empty for the order of mart_runs_ranked; direction, 1 or -1; is_descending;
--   row_limit; statuses and run_types, those that are wanted; filters, empty or null for none
-- units: pnl on capital 1 per trade; max_drawdown and win_rate fractions; times in seconds since the epoch, UTC. The
--   status is superseded where a later run took a completed one's place.
with listed as (
    select
        ranked.run_rank,
        runs.id as simulation_run_id,
        runs.run_type,
        case when runs.superseded_by is null then runs.status else 'superseded' end as status,
        strategies.name as strategy_name,
        strategies.version as strategy_version,
        tokens.chain,
        tokens.address as token_address,
        coalesce(tokens.symbol, '') as token_symbol,
        extract(epoch from runs.window_start)::bigint as window_start_s,
        extract(epoch from runs.window_end)::bigint as window_end_s,
        extract(epoch from coalesce(runs.completed_at, runs.started_at, runs.claimed_at))::bigint as changed_s,
        summary.trade_count,
        summary.win_rate,
        case when summary.trade_count > 0 then summary.final_pnl end as mean_pnl,
        summary.final_pnl * summary.trade_count as total_pnl,
        summary.max_drawdown,
        summary.sharpe_ratio,
        runs.data_quality,
        runs.error_message
    from simulation_runs as runs
    inner join strategies on runs.strategy_id = strategies.id
    left join tokens on runs.token_id = tokens.id
    left join simulation_results_summary as summary on runs.id = summary.simulation_run_id
    left join mart_runs_ranked as ranked on runs.id = ranked.simulation_run_id
    where runs.run_type = any(%(run_types)s)
),

kept as (
    select
        listed.*,
        count(*) over () as row_count,
        case %(sort)s
            when 'rank' then run_rank
            when 'run' then simulation_run_id
            when 'from' then window_start_s
            when 'changed' then changed_s
            when 'trades' then trade_count
            when 'win' then win_rate
            when 'mean' then mean_pnl
            when 'sum' then total_pnl
            when 'drawdown' then max_drawdown
            when 'sharpe' then sharpe_ratio
        end::double precision as sort_number,
        case %(sort)s
            when 'strategy' then strategy_name || '@' || strategy_version
            when 'token' then coalesce(nullif(token_symbol, ''), token_address)
            when 'status' then status
            when 'quality' then data_quality
        end as sort_text
    from listed
    where
        status = any(%(statuses)s)
        and %(strategy)s in ('', strategy_name, strategy_name || '@' || strategy_version)
        and %(token)s in ('', token_address, chain || ':' || token_address, token_symbol)
        and (%(since_s)s = 0 or window_end_s > %(since_s)s)
)

select
    run_rank,
    simulation_run_id,
    run_type,
    status,
    strategy_name,
    strategy_version,
    chain,
    token_address,
    token_symbol,
    window_start_s,
    window_end_s,
    changed_s,
    trade_count,
    win_rate,
    mean_pnl,
    total_pnl,
    max_drawdown,
    sharpe_ratio,
    data_quality,
    error_message,
    row_count
from kept
order by
    sort_number * %(direction)s nulls last,
    case when %(is_descending)s = 0 then sort_text end nulls last,
    case when %(is_descending)s = 1 then sort_text end desc nulls last,
    run_rank nulls last,
    simulation_run_id desc
limit %(row_limit)s
