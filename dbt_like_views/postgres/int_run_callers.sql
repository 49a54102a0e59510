/*
description: "Whose calls lie in which run: what can Postgres know about who a run's result belongs to?"
grain: one row per completed, current backtest run on one token and caller with calls in its window
columns:
  simulation_run_id: {meaning: Simulation run}
  caller_id: {meaning: "Caller's id in Postgres, aliases followed"}
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  token_id: {meaning: Token's id in Postgres}
  trade_count: {meaning: Trades that bought, unit: trades}
  win_count: {meaning: Trades with a profit after costs, unit: trades}
  total_pnl: {meaning: "Sum of the trades' profits, each on capital 1", unit: capitals of a trade}
  call_count: {meaning: The caller's calls within the window, unit: calls}
  caller_count: {meaning: Callers with calls within the window, unit: callers}
tests:
  - unique: [simulation_run_id, caller_id]
  - expression: call_count > 0
notes: |
  Runs over several tokens are left out: their selection of calls is known to the run alone. Calls that were imported
  after the run was computed are counted too, until it is computed again.
*/
select
    runs.simulation_run_id,
    calls.caller_id,
    runs.strategy_name,
    runs.strategy_version,
    runs.token_id,
    runs.trade_count,
    runs.win_count,
    runs.total_pnl,
    count(*) as call_count,
    count(*) over (partition by runs.simulation_run_id) as caller_count
from {{ ref('int_run_results') }} as runs
inner join {{ ref('stg_calls') }} as calls
    on
        runs.token_id = calls.token_id
        and calls.signal_timestamp >= runs.window_start
        and calls.signal_timestamp < runs.window_end
        and (runs.caller_id is null or runs.caller_id = calls.caller_id)
group by
    runs.simulation_run_id,
    calls.caller_id,
    runs.strategy_name,
    runs.strategy_version,
    runs.token_id,
    runs.trade_count,
    runs.win_count,
    runs.total_pnl
