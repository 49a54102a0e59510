/*
description: What did each run come to on each token?
grain: one row per completed run, superseded ones included, and token
columns:
  simulation_run_id: {meaning: Simulation run}
  chain: {meaning: Chain of the token}
  token_address: {meaning: Address of the token on its chain}
  trade_count: {meaning: Trades that bought, unit: trades}
  final_pnl: {meaning: Mean profit of a trade after costs; 0 without a trade, unit: fraction of the trade's capital}
  win_rate: {meaning: Share of trades with a profit after costs; null without a trade, unit: fraction of trades}
  max_drawdown: {meaning: Largest fall of the sum of results from a peak, unit: fraction}
  volatility: {meaning: "Standard deviation of the results, annualised over 365 days", unit: fraction per year}
  sharpe_ratio:
    meaning: Mean over standard deviation of the results, annualised over 365 days
    unit: per square root of a year
  sortino_ratio:
    meaning: As the Sharpe ratio, over the standard deviation of losses
    unit: per square root of a year
  reentry_count: {meaning: Buys after a trade had sold all, unit: events}
  ladder_entries_used: {meaning: Buys of entry ladders, unit: events}
  ladder_exits_used: {meaning: Sells of exit ladders, unit: events}
tests:
  - unique: [simulation_run_id, chain, token_address]
  - expression: trade_count > 0 or final_pnl = 0
notes: |
  What a dead attempt wrote is not shown.
*/
select
    simulation_run_id,
    chain,
    token_address,
    trade_count,
    final_pnl,
    win_rate,
    max_drawdown,
    volatility,
    sharpe_ratio,
    sortino_ratio,
    reentry_count,
    ladder_entries_used,
    ladder_exits_used
from {{ source('simulation_aggregates') }} final
where simulation_run_id in (select published.simulation_run_id from {{ source('published_runs') }} as published)
