-- Which strategies earned, over all calls, after costs?
-- grain: one row per strategy version with a completed, current backtest
-- keys: strategy_name, strategy_version
-- units: pnl on capital 1 per trade (0.25 = 25 %); win_rate a fraction of trades; times in UTC
--   mean_pnl          over trades: a run of 100 trades weighs a hundred times a run of one
--   win_rate_lower    lower end of the 95 % Wilson interval of win_rate
--   mean_pnl_lower    mean_pnl - 1.96 standard errors, where the error comes from the differences between tokens
--                     (trades of one token are not independent; a run over several tokens counts as one);
--                     null with fewer than two
--   worst_drawdown    the largest max_drawdown of a single run
--   overlapping_run_count   runs whose window overlaps an older run of the same strategy version and token: their
--                     common calls count twice here. ClickHouse, which knows trades, counts each call once.
--   good_data_trade_count   trades of runs whose candles were judged good (data_quality)
--   is_small_sample   fewer than 20 trades or fewer than 5 tokens: the row says little
--   strategy_rank     rows with enough trades first, then by mean_pnl_lower. One lucky trade widens the error by
--                     more than it lifts the mean, so that it can't win the first place.
-- upstream: int_run_results. There is no median over trades: it can't be had from the runs' summaries (see the
--   view of the same name in ClickHouse).
-- depends: int_run_results
-- test: unique(strategy_name, strategy_version)
-- test: unique(strategy_rank)
-- test: holds(win_count <= trade_count)
-- test: holds(win_rate_lower <= win_rate)
with
totals as (
    select
        strategy_name,
        strategy_version,
        count(*) as run_count,
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
    from int_run_results
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
    from int_run_results
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
    from int_run_results as later
    inner join int_run_results as earlier
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
        totals.trade_count,
        coalesce(spreads.token_count, 0) as token_count,
        totals.win_count,
        totals.win_rate,
        -- Between 0 and the rate itself, where rounding would leave these bounds.
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
        totals.mean_pnl,
        totals.mean_pnl - 1.96 * sqrt(
            spreads.token_count / nullif(spreads.token_count - 1, 0)::double precision
            * spreads.squared_residuals
        ) / totals.trade_count as mean_pnl_lower,
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
    mean_pnl,
    mean_pnl_lower,
    total_pnl,
    worst_drawdown,
    overlapping_run_count,
    first_window_start,
    last_window_end,
    last_completed_at,
    is_small_sample,
    good_data_trade_count
from results
