-- The runs that dashboards show, best first.
-- grain: one row per run; run_count is the number of all that the filters leave
-- parameters: strategy (empty: every one), since_s (window ends after it), run_limit, run_ids (listed whatever the limit)
-- units: as in mart_runs_ranked; times in seconds since the epoch, UTC
with
numbered as (
    select
        run_rank,
        simulation_run_id,
        strategy_name,
        strategy_version,
        engine_version,
        chain,
        token_address,
        window_start,
        window_end,
        completed_at,
        trade_count,
        win_rate,
        mean_pnl,
        total_pnl,
        max_drawdown,
        sharpe_ratio,
        is_small_sample,
        data_quality,
        row_number() over (order by run_rank) as place,
        count() over () as run_count
    from mart_runs_ranked
    where
        ({strategy:String} = '' or strategy_name = {strategy:String})
        and toInt64(toUnixTimestamp(window_end)) > {since_s:Int64}
)

select
    run_rank,
    toInt64(simulation_run_id) as simulation_run_id,
    strategy_name,
    strategy_version,
    engine_version,
    chain,
    token_address,
    toInt64(toUnixTimestamp(window_start)) as window_start_s,
    toInt64(toUnixTimestamp(window_end)) as window_end_s,
    toInt64(toUnixTimestamp(completed_at)) as completed_s,
    trade_count,
    win_rate,
    mean_pnl,
    total_pnl,
    max_drawdown,
    sharpe_ratio,
    is_small_sample,
    data_quality,
    run_count
from numbered
where place <= {run_limit:UInt32} or simulation_run_id in {run_ids:Array(UInt64)}
order by run_rank
