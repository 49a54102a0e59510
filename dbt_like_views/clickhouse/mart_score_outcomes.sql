/*
description: Do calls with higher scores of a model bring more?
grain: "one row per model version, strategy version and tenth of the scored calls that the strategy looked at"
materialized: table
order_by: [model_id, strategy_name, strategy_version, score_decile]
columns:
  model_name: {meaning: Model}
  model_id: {meaning: "Version of the model: id in ml_models of Postgres"}
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  score_decile: {meaning: "Tenth of the calls by score: 1 lowest, 10 highest", unit: rank}
  call_count: {meaning: Scored calls in this tenth, unit: calls}
  trade_count: {meaning: Trades that bought, unit: trades}
  skipped_count: {meaning: Calls that never led to a buy, unit: calls}
  lowest_score: {meaning: Lowest score in this tenth, unit: score}
  highest_score: {meaning: Highest score in this tenth, unit: score}
  mean_score: {meaning: Mean score in this tenth, unit: score}
  win_rate: {meaning: Share of trades with a profit after costs; null without a trade, unit: fraction of trades}
  mean_pnl:
    meaning: Mean profit of a trade after costs; null without a trade; 0.25 is 25 %
    unit: fraction of the trade's capital
  median_pnl:
    meaning: Exact median of the trades' profits; null without a trade
    unit: fraction of the trade's capital
  total_pnl: {meaning: "Sum of the trades' profits, each on capital 1", unit: capitals of a trade}
tests:
  - unique: [model_id, strategy_name, strategy_version, score_decile]
  - expression: score_decile between 1 and 10
  - expression: lowest_score <= highest_score
  - expression: call_count = trade_count + skipped_count
notes: |
  Only scores that a model gave without having seen the call's future count: those whose trained_until lies before the
  call. With fewer than ten calls, some tenths are missing. Equal scores are parted by the call's id. What a model
  learned to predict need not be the profit of a strategy.
*/
with
-- Of the scores of a call by one model version (walk-forward folds among them), the one that had learned the longest
-- without having seen the call. 1970 says that it is not known when a score's model had learned.
usable as (
    select
        scores.model_id as model_id,
        scores.call_id as call_id,
        argMax(scores.model_name, scores.trained_until) as model_name,
        argMax(scores.score, scores.trained_until) as score
    from {{ source('ml_scores') }} as scores final
    inner join {{ ref('stg_calls') }} as calls on scores.call_id = calls.call_id
    where
        scores.trained_until > toDateTime(0, 'UTC')
        and scores.trained_until < calls.signal_timestamp
    group by
        model_id,
        call_id
),

placed as (
    select
        usable.model_name as model_name,
        usable.model_id as model_id,
        usable.score as score,
        trades.strategy_name as strategy_name,
        trades.strategy_version as strategy_version,
        trades.has_bought as has_bought,
        trades.pnl as pnl,
        row_number() over by_score as score_position,
        count() over (
            partition by
                usable.model_id,
                trades.strategy_name,
                trades.strategy_version
        ) as scored_count
    from usable
    inner join {{ ref('int_trades') }} as trades on usable.call_id = trades.call_id
    window by_score as (
        partition by
            usable.model_id,
            trades.strategy_name,
            trades.strategy_version
        order by
            usable.score,
            usable.call_id
        rows between unbounded preceding and current row
    )
)

select
    any(placed.model_name) as model_name,
    placed.model_id as model_id,
    placed.strategy_name as strategy_name,
    placed.strategy_version as strategy_version,
    intDiv((placed.score_position - 1) * 10, placed.scored_count) + 1 as score_decile,
    count() as call_count,
    countIf(placed.has_bought) as trade_count,
    countIf(not placed.has_bought) as skipped_count,
    min(placed.score) as lowest_score,
    max(placed.score) as highest_score,
    avg(placed.score) as mean_score,
    if(trade_count = 0, null, countIf(placed.pnl > 0) / trade_count) as win_rate,
    if(trade_count = 0, null, sum(placed.pnl) / trade_count) as mean_pnl,
    if(trade_count = 0, null, quantileExactInclusiveIf(0.5)(placed.pnl, placed.has_bought)) as median_pnl,
    sum(placed.pnl) as total_pnl
from placed
group by
    model_id,
    strategy_name,
    strategy_version,
    score_decile
