/*
description: Which strategies earned, over all calls, after costs?
grain: one row per strategy version with a completed, current backtest
columns:
  strategy_rank:
    meaning: "Place by mean_pnl_lower, strategies with enough trades first: one lucky trade widens the error by more
      than it lifts the mean, so that it can't win the first place; 1 is best"
    unit: rank
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  run_count: {meaning: Runs behind the row, unit: runs}
  trade_count: {meaning: Trades that bought, unit: trades}
  token_count: {meaning: Tokens with a trade, unit: tokens}
  win_count: {meaning: Trades with a profit after costs, unit: trades}
  win_rate: {meaning: Share of trades with a profit after costs; null without a trade, unit: fraction of trades}
  win_rate_lower: {meaning: Lower end of the 95 % Wilson interval of win_rate, unit: fraction of trades}
  win_rate_upper:
    meaning: Upper end of the 95 % Wilson interval of win_rate; null without a trade
    unit: fraction of trades
  mean_pnl:
    meaning: Mean profit of a trade after costs; null without a trade
    unit: fraction of the trade's capital
  mean_pnl_lower:
    meaning: mean_pnl less 1.96 standard errors, which come from the differences between tokens, as trades of one
      token are not independent; null with fewer than two tokens
    unit: fraction of the trade's capital
  mean_pnl_upper:
    meaning: "mean_pnl and 1.96 standard errors, see mean_pnl_lower; null with fewer than two tokens"
    unit: fraction of the trade's capital
  expectancy:
    meaning: "What a further trade may be expected to bring: win_rate * average_win + (1 - win_rate) * average_loss, which is
      mean_pnl under the name that traders look for"
    unit: fraction of the trade's capital
  total_pnl: {meaning: "Sum of the trades' profits, each on capital 1", unit: capitals of a trade}
  worst_drawdown: {meaning: Largest max_drawdown of a single run, unit: fraction}
  overlapping_run_count:
    meaning: "Runs whose window overlaps an older run of the same strategy version and token: their common calls
      count twice here (ClickHouse counts each call once)"
    unit: runs
  wide_run_count: {meaning: "Runs over several tokens: each counts as one token, and its overlaps are not known", unit: runs}
  first_window_start: {meaning: Start of the earliest window, unit: UTC}
  last_window_end: {meaning: First moment after the latest window, unit: UTC}
  last_completed_at: {meaning: When the last run was completed, unit: UTC}
  is_small_sample:
    meaning: "Fewer than 20 trades or fewer than 5 tokens: the row says little"
    unit: true or false
  good_data_trade_count: {meaning: Trades of runs whose candles were judged good, unit: trades}
tests:
  - unique: [strategy_name, strategy_version]
  - unique: [strategy_rank]
  - expression: win_count <= trade_count
  - expression: win_rate_lower <= win_rate and win_rate <= win_rate_upper
  - expression: mean_pnl_lower <= mean_pnl and mean_pnl <= mean_pnl_upper
agrees:
  keys: [strategy_name, strategy_version]
  columns:
    - run_count
    - trade_count
    - token_count
    - win_count
    - win_rate
    - win_rate_lower
    - win_rate_upper
    - mean_pnl
    - mean_pnl_lower
    - mean_pnl_upper
    - expectancy
    - total_pnl
    - is_small_sample
    - good_data_trade_count
  unless: trade_count = 0 or overlapping_run_count > 0 or wide_run_count > 0
notes: |
  A run of 100 trades weighs a hundred times a run of one. There is no median over trades: it can't be had from the runs'
  summaries (see the view of the same name in ClickHouse). For the error of the mean, a run over several tokens counts as
  one token.
*/
with
totals as (
    select
        strategy_name,
        strategy_version,
        count(*) as run_count,
        count(*) filter (where token_id is null) as wide_run_count,
        sum(trade_count)::bigint as trade_count,
        sum(win_count)::bigint as win_count,
        coalesce(sum(trade_count) filter (where data_quality = 'good'), 0)::bigint as good_data_trade_count,
        sum(total_pnl) as total_pnl,
        sum(win_count)::double precision / nullif(sum(trade_count), 0)::double precision as win_rate,
        sum(total_pnl) / nullif(sum(trade_count), 0)::double precision as mean_pnl,
        max(max_drawdown)::double precision as worst_drawdown,
        min(window_start) as first_window_start,
        max(window_end) as last_window_end,
        max(completed_at) as last_completed_at
    from {{ ref('int_run_results') }}
    group by
        strategy_name,
        strategy_version
),

per_token as (
    select
        strategy_name,
        strategy_version,
        sum(trade_count)::double precision as token_trades,
        sum(total_pnl) as token_pnl
    from {{ ref('int_run_results') }}
    group by
        strategy_name,
        strategy_version,
        token_id,
        case when token_id is null then simulation_run_id end
    having sum(trade_count) > 0
),

spreads as (
    select
        per_token.strategy_name,
        per_token.strategy_version,
        count(*) as token_count,
        sum(power(per_token.token_pnl - totals.mean_pnl * per_token.token_trades, 2)) as squared_residuals
    from per_token
    inner join totals
        on
            per_token.strategy_name = totals.strategy_name
            and per_token.strategy_version = totals.strategy_version
    group by
        per_token.strategy_name,
        per_token.strategy_version
),

overlapping as (
    select
        later.strategy_name,
        later.strategy_version,
        count(distinct later.simulation_run_id) as overlapping_run_count
    from {{ ref('int_run_results') }} as later
    inner join {{ ref('int_run_results') }} as earlier
        on
            later.strategy_name = earlier.strategy_name
            and later.strategy_version = earlier.strategy_version
            and later.token_id = earlier.token_id
            and later.simulation_run_id > earlier.simulation_run_id
            and later.window_start < earlier.window_end
            and earlier.window_start < later.window_end
    group by
        later.strategy_name,
        later.strategy_version
),

results as (
    select
        totals.strategy_name,
        totals.strategy_version,
        totals.run_count,
        totals.wide_run_count,
        totals.trade_count,
        coalesce(spreads.token_count, 0) as token_count,
        totals.win_count,
        totals.win_rate,
        -- Between 0, the rate itself and 1, where rounding would leave these bounds.
        case
            when totals.trade_count > 0
                then
                    least(
                        totals.win_rate,
                        greatest(
                            0,
                            (
                                totals.win_rate + 1.9208 / totals.trade_count
                                - 1.96 * sqrt(
                                    totals.win_rate * (1 - totals.win_rate) / totals.trade_count
                                    + 0.9604 / power(totals.trade_count::double precision, 2)
                                )
                            ) / (1 + 3.8416 / totals.trade_count)
                        )
                    )
        end as win_rate_lower,
        case
            when totals.trade_count > 0
                then
                    greatest(
                        totals.win_rate,
                        least(
                            1,
                            (
                                totals.win_rate + 1.9208 / totals.trade_count
                                + 1.96 * sqrt(
                                    totals.win_rate * (1 - totals.win_rate) / totals.trade_count
                                    + 0.9604 / power(totals.trade_count::double precision, 2)
                                )
                            ) / (1 + 3.8416 / totals.trade_count)
                        )
                    )
        end as win_rate_upper,
        totals.mean_pnl,
        totals.mean_pnl - 1.96 * sqrt(
            spreads.token_count / nullif(spreads.token_count - 1, 0)::double precision
            * spreads.squared_residuals
        ) / totals.trade_count as mean_pnl_lower,
        totals.mean_pnl + 1.96 * sqrt(
            spreads.token_count / nullif(spreads.token_count - 1, 0)::double precision
            * spreads.squared_residuals
        ) / totals.trade_count as mean_pnl_upper,
        totals.total_pnl,
        totals.worst_drawdown,
        coalesce(overlapping.overlapping_run_count, 0) as overlapping_run_count,
        totals.first_window_start,
        totals.last_window_end,
        totals.last_completed_at,
        totals.trade_count < 20 or coalesce(spreads.token_count, 0) < 5 as is_small_sample,
        totals.good_data_trade_count
    from totals
    left join spreads
        on
            totals.strategy_name = spreads.strategy_name
            and totals.strategy_version = spreads.strategy_version
    left join overlapping
        on
            totals.strategy_name = overlapping.strategy_name
            and totals.strategy_version = overlapping.strategy_version
)

select
    row_number() over (
        order by
            is_small_sample,
            mean_pnl_lower desc nulls last,
            trade_count desc,
            strategy_name,
            strategy_version
    ) as strategy_rank,
    strategy_name,
    strategy_version,
    run_count,
    trade_count,
    token_count,
    win_count,
    win_rate,
    win_rate_lower,
    win_rate_upper,
    mean_pnl,
    mean_pnl_lower,
    mean_pnl_upper,
    mean_pnl as expectancy,
    total_pnl,
    worst_drawdown,
    overlapping_run_count,
    wide_run_count,
    first_window_start,
    last_window_end,
    last_completed_at,
    is_small_sample,
    good_data_trade_count
from results
