-- The runs that dashboards show, best first: the best of all, of each strategy version and of tokens that were asked for,
-- and the latest that traded.
-- grain: one row per run; run_count is the number of all that the filters leave, version_run_count of those of the
--   strategy version, token_run_count of those on the token
-- parameters: strategy, version and caller_handle (empty: every one), caller_source, since_s (window ends after it);
--   chains and token_addresses, pairwise; run_limit, version_limit, token_limit, latest_limit; run_ids (listed whatever the
--   limits)
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
        row_number() over (partition by strategy_name, strategy_version order by run_rank) as version_place,
        row_number() over (partition by chain, token_address order by run_rank) as token_place,
        row_number() over (order by trade_count = 0, window_start desc, simulation_run_id desc) as latest_place,
        count() over () as run_count,
        count() over (partition by strategy_name, strategy_version) as version_run_count,
        count() over (partition by chain, token_address) as token_run_count
    from mart_runs_ranked
    where
        {strategy:String} in ('', strategy_name)
        and {version:String} in ('', strategy_version)
        and toInt64(toUnixTimestamp(window_end)) > {since_s:Int64}
        and (
            {caller_handle:String} = ''
            or simulation_run_id in (
                select trades.simulation_run_id
                from mart_caller_trades as trades
                where
                    trades.caller_source = {caller_source:String}
                    and trades.caller_handle = {caller_handle:String}
                    and toInt64(toUnixTimestamp(trades.signal_timestamp)) >= {since_s:Int64}
            )
        )
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
    run_count,
    version_run_count,
    token_run_count
from numbered
where
    place <= {run_limit:UInt32}
    or version_place <= {version_limit:UInt32}
    or latest_place <= {latest_limit:UInt32}
    or simulation_run_id in {run_ids:Array(UInt64)}
    or (
        token_place <= {token_limit:UInt32}
        and (chain, token_address) in arrayZip({chains:Array(String)}, {token_addresses:Array(String)})
    )
order by run_rank
