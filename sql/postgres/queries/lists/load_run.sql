-- Everything that is known of one run.
-- grain: at most one row
-- parameters: simulation_run_id
-- units: as in lists/list_runs; ratios and their metadata as in simulation_results_summary
select
    runs.id as simulation_run_id,
    runs.run_type,
    case when runs.superseded_by is null then runs.status else 'superseded' end as status,
    runs.superseded_by,
    ranked.run_rank,
    strategies.name as strategy_name,
    strategies.version as strategy_version,
    tokens.chain,
    tokens.address as token_address,
    coalesce(tokens.symbol, '') as token_symbol,
    extract(epoch from runs.window_start)::bigint as window_start_s,
    extract(epoch from runs.window_end)::bigint as window_end_s,
    extract(epoch from runs.started_at)::bigint as started_s,
    extract(epoch from runs.completed_at)::bigint as completed_s,
    runs.attempt,
    runs.engine_version,
    runs.config_hash,
    runs.run_key,
    runs.events_digest,
    runs.data_quality,
    runs.data_selection_json,
    runs.error_message,
    summary.final_pnl,
    summary.max_drawdown,
    summary.volatility,
    summary.sharpe_ratio,
    summary.sortino_ratio,
    summary.win_rate,
    summary.trade_count,
    summary.avg_trade_return,
    summary.median_trade_return,
    summary.reentry_count,
    summary.ladder_entries_used,
    summary.ladder_exits_used,
    summary.average_holding_minutes,
    summary.max_holding_minutes
from simulation_runs as runs
inner join strategies on runs.strategy_id = strategies.id
left join tokens on runs.token_id = tokens.id
left join simulation_results_summary as summary on runs.id = summary.simulation_run_id
left join mart_runs_ranked as ranked on runs.id = ranked.simulation_run_id
where runs.id = %(simulation_run_id)s
