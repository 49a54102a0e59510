/*
description: "Which tokens brought and cost the most, under each strategy?"
grain: "one row per strategy version and token with a completed, current backtest on it alone"
columns:
  token_rank:
    meaning: "Place within the strategy version by total_pnl, then by trades; 1 brought the most"
    unit: rank
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  chain: {meaning: Chain (or exchange) of the token}
  token_address: {meaning: Address of the token on its chain}
  symbol: {meaning: Ticker of the token; null where nobody named it}
  run_count: {meaning: Runs behind the row, unit: runs}
  trade_count: {meaning: Trades that bought, unit: trades}
  win_count: {meaning: Trades with a profit after costs, unit: trades}
  win_rate: {meaning: Share of trades with a profit after costs; null without a trade, unit: fraction of trades}
  mean_pnl:
    meaning: Mean profit of a trade after costs; null without a trade; 0.25 is 25 %
    unit: fraction of the trade's capital
  total_pnl: {meaning: "Sum of the trades' profits, each on capital 1", unit: capitals of a trade}
  good_data_trade_count: {meaning: Trades of runs whose candles were judged good, unit: trades}
  overlapping_run_count:
    meaning: "Runs whose window overlaps an older one of the same strategy version and token: their common calls count twice
      here"
    unit: runs
  wide_run_count:
    meaning: "Runs of the strategy version over several tokens: what they brought on this one is not counted here"
    unit: runs
tests:
  - unique: [strategy_name, strategy_version, chain, token_address]
  - unique: [strategy_name, strategy_version, token_rank]
  - expression: win_count <= trade_count
  - expression: (trade_count = 0) = (mean_pnl is null)
agrees:
  keys: [strategy_name, strategy_version, chain, token_address]
  columns: [trade_count, win_count, win_rate, mean_pnl, total_pnl, good_data_trade_count]
  unless: trade_count = 0 or overlapping_run_count > 0 or wide_run_count > 0
  # Tokens of runs over several tokens.
  clickhouse_may_add_rows: true
notes: |
  Of runs on one token; what runs over several tokens brought on each is not known here. Median, best and worst trade
  are in the view of the same name in ClickHouse, which knows trades and counts a call of overlapping runs once.
*/
with
overlapping as (
    select
        later.strategy_name,
        later.strategy_version,
        later.token_id,
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
        later.strategy_version,
        later.token_id
),

wide as (
    select
        strategy_name,
        strategy_version,
        count(*) as wide_run_count
    from {{ ref('int_run_results') }}
    where token_id is null
    group by
        strategy_name,
        strategy_version
),

results as (
    select
        runs.strategy_name,
        runs.strategy_version,
        runs.token_id,
        runs.chain,
        runs.token_address,
        runs.symbol,
        count(*) as run_count,
        sum(runs.trade_count)::bigint as trade_count,
        sum(runs.win_count)::bigint as win_count,
        sum(runs.total_pnl) as total_pnl,
        coalesce(sum(runs.trade_count) filter (where runs.data_quality = 'good'), 0)::bigint as good_data_trade_count,
        -- Ties by the bytes of the address, as ClickHouse does. The linter takes the collation for a column.
        row_number() over (
            partition by
                runs.strategy_name,
                runs.strategy_version
            order by
                sum(runs.total_pnl) desc,
                sum(runs.trade_count) desc,
                runs.chain collate "C", -- noqa: RF03
                runs.token_address collate "C" -- noqa: RF03
        ) as token_rank
    from {{ ref('int_run_results') }} as runs
    where runs.token_id is not null
    group by
        runs.strategy_name,
        runs.strategy_version,
        runs.token_id,
        runs.chain,
        runs.token_address,
        runs.symbol
)

select
    results.token_rank,
    results.strategy_name,
    results.strategy_version,
    results.chain,
    results.token_address,
    results.symbol,
    results.run_count,
    results.trade_count,
    results.win_count,
    results.win_count::double precision / nullif(results.trade_count, 0) as win_rate,
    results.total_pnl / nullif(results.trade_count, 0) as mean_pnl,
    results.total_pnl,
    results.good_data_trade_count,
    coalesce(overlapping.overlapping_run_count, 0) as overlapping_run_count,
    coalesce(wide.wide_run_count, 0) as wide_run_count
from results
left join wide
    on
        results.strategy_name = wide.strategy_name
        and results.strategy_version = wide.strategy_version
left join overlapping
    on
        results.strategy_name = overlapping.strategy_name
        and results.strategy_version = overlapping.strategy_version
        and results.token_id = overlapping.token_id
