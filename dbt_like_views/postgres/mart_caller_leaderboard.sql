/*
description: Who calls how much, how far was that simulated, and what is certain about the results?
grain: one row per caller and strategy version with a completed, current backtest; every caller has a row under every such strategy
columns:
  caller_rank:
    meaning: "Place within the strategy version: enough trades first, then by sole_win_rate_lower, then by calls; 1
      is best"
    unit: rank
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  caller_source: {meaning: "Where the caller calls, such as telegram"}
  caller_handle: {meaning: "Name of the caller at the source, aliases followed"}
  alert_count: {meaning: Alerts of the caller; at least as many as calls, unit: alerts}
  call_count: {meaning: Calls of the caller, unit: calls}
  token_count: {meaning: Tokens that the caller called, unit: tokens}
  first_call_at: {meaning: Moment of the first call, unit: UTC}
  last_call_at: {meaning: Moment of the last call, unit: UTC}
  simulated_call_count: {meaning: Calls that lie in the window of a current run on their token, unit: calls}
  shared_run_count:
    meaning: "Runs in which other callers called as well: their results can't be told apart here"
    unit: runs
  sole_run_count: {meaning: "Runs in which this caller alone called: these results are the caller's", unit: runs}
  sole_trade_count: {meaning: Trades of the sole runs, unit: trades}
  sole_win_count: {meaning: Trades of the sole runs with a profit after costs, unit: trades}
  sole_win_rate:
    meaning: Share of the sole runs' trades with a profit; null without a trade
    unit: fraction of trades
  sole_win_rate_lower: {meaning: Lower end of the 95 % Wilson interval of sole_win_rate, unit: fraction of trades}
  sole_mean_pnl:
    meaning: Mean profit of the sole runs' trades; null without a trade
    unit: fraction of the trade's capital
  sole_total_pnl:
    meaning: Sum of the profits of the sole runs' trades, each on capital 1
    unit: capitals of a trade
  is_small_sample: {meaning: "Fewer than 20 sole trades: the row says little", unit: true or false}
tests:
  - unique: [strategy_name, strategy_version, caller_source, caller_handle]
  - unique: [strategy_name, strategy_version, caller_rank]
  - expression: sole_win_count <= sole_trade_count
  - expression: sole_win_rate_lower <= sole_win_rate
notes: |
  Postgres keeps no trades, so that this view claims only what follows from runs. The exact results per caller are in
  ClickHouse's view of the same name.
*/
with
strategies_run as (
    select distinct
        strategy_name,
        strategy_version
    from {{ ref('int_run_results') }}
),

attributed as (
    select
        strategy_name,
        strategy_version,
        caller_id,
        sum(call_count)::bigint as simulated_call_count,
        count(*) filter (where caller_count > 1) as shared_run_count,
        count(*) filter (where caller_count = 1) as sole_run_count,
        coalesce(sum(trade_count) filter (where caller_count = 1), 0)::bigint as sole_trade_count,
        coalesce(sum(win_count) filter (where caller_count = 1), 0)::bigint as sole_win_count,
        coalesce(sum(total_pnl) filter (where caller_count = 1), 0) as sole_total_pnl
    from {{ ref('int_run_callers') }}
    group by
        strategy_name,
        strategy_version,
        caller_id
),

results as (
    select
        strategies_run.strategy_name,
        strategies_run.strategy_version,
        callers.caller_source,
        callers.caller_handle,
        callers.alert_count,
        callers.call_count,
        callers.token_count,
        callers.first_call_at,
        callers.last_call_at,
        coalesce(attributed.simulated_call_count, 0) as simulated_call_count,
        coalesce(attributed.shared_run_count, 0) as shared_run_count,
        coalesce(attributed.sole_run_count, 0) as sole_run_count,
        coalesce(attributed.sole_trade_count, 0) as sole_trade_count,
        coalesce(attributed.sole_win_count, 0) as sole_win_count,
        coalesce(attributed.sole_total_pnl, 0) as sole_total_pnl,
        nullif(attributed.sole_trade_count, 0)::double precision as trades,
        attributed.sole_win_count / nullif(attributed.sole_trade_count, 0)::double precision as sole_win_rate
    from strategies_run
    cross join {{ ref('int_caller_activity') }} as callers
    left join attributed
        on
            strategies_run.strategy_name = attributed.strategy_name
            and strategies_run.strategy_version = attributed.strategy_version
            and callers.caller_id = attributed.caller_id
),

bounded as (
    select
        strategy_name,
        strategy_version,
        caller_source,
        caller_handle,
        alert_count,
        call_count,
        token_count,
        first_call_at,
        last_call_at,
        simulated_call_count,
        shared_run_count,
        sole_run_count,
        sole_trade_count,
        sole_win_count,
        sole_win_rate,
        -- Between 0 and the rate itself, where rounding would leave these bounds.
        case
            when sole_trade_count > 0
                then
                    least(
                        sole_win_rate,
                        greatest(
                            0,
                            (
                                sole_win_rate + 1.9208 / trades
                                - 1.96 * sqrt(sole_win_rate * (1 - sole_win_rate) / trades + 0.9604 / power(trades, 2))
                            ) / (1 + 3.8416 / trades)
                        )
                    )
        end as sole_win_rate_lower,
        sole_total_pnl / trades as sole_mean_pnl,
        sole_total_pnl,
        sole_trade_count < 20 as is_small_sample
    from results
)

select
    row_number() over (
        partition by
            strategy_name,
            strategy_version
        order by
            is_small_sample,
            sole_win_rate_lower desc nulls last,
            call_count desc,
            caller_source,
            caller_handle
    ) as caller_rank,
    strategy_name,
    strategy_version,
    caller_source,
    caller_handle,
    alert_count,
    call_count,
    token_count,
    first_call_at,
    last_call_at,
    simulated_call_count,
    shared_run_count,
    sole_run_count,
    sole_trade_count,
    sole_win_count,
    sole_win_rate,
    sole_win_rate_lower,
    sole_mean_pnl,
    sole_total_pnl,
    is_small_sample
from bounded
