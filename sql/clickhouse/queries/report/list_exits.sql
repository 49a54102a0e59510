-- How trades ended and why calls were skipped, under each strategy version; the most frequent first.
-- grain: one row per strategy version, outcome, last selling event and its reason
-- units: as in mart_exit_reasons
select
    strategy_name,
    strategy_version,
    outcome,
    exit_event,
    exit_reason,
    call_count,
    share_of_calls,
    win_rate,
    mean_pnl,
    median_pnl,
    total_pnl,
    mean_holding_minutes
from mart_exit_reasons
order by strategy_name, strategy_version, call_count desc, exit_event, exit_reason
