/*
description: What happened in simulated trades, each event once?
grain: one row per event of a completed run, superseded ones included
columns:
  simulation_run_id: {meaning: Simulation run}
  call_id: {meaning: Call}
  seq: {meaning: "Position of the event in its trade, from 0", unit: count}
  chain: {meaning: Chain of the token}
  token_address: {meaning: Address of the token on its chain}
  event_time: {meaning: When it happened, unit: UTC}
  event_type: {meaning: "What happened, such as entry, target_hit or stop_loss"}
  price: {meaning: "Price of the fill, or of the candle for events without one", unit: quote currency}
  size:
    meaning: Cash spent by a buy; share of what the cycle bought, for a sell
    unit: fraction of the trade's capital, or of the position
  remaining_position: {meaning: What is left after the event, unit: fraction of what the cycle bought}
  pnl_so_far:
    meaning: Profit of the trade up to and with this event, after costs
    unit: fraction of the trade's capital
  is_buy: {meaning: Whether the event buys, unit: true or false}
  is_sell: {meaning: Whether the event sells, unit: true or false}
  metadata_json:
    meaning: "What else is known of the event, such as order, reason, stop and target (docs/engine.md)"
    unit: JSON
tests:
  - unique: [simulation_run_id, call_id, seq]
  - accepted_values:
      column: event_type
      values:
        [entry, ladder_entry, scale_in, re_entry, target_hit, stop_loss, trailing_stop, signal_exit,
         time_exit, final_exit, stop_moved, entry_skipped]
  - expression: isFinite(pnl_so_far)
notes: |
  What a dead attempt wrote is not shown.
*/
select
    simulation_run_id,
    call_id,
    seq,
    chain,
    token_address,
    event_time,
    toString(event_type) as event_type,
    price,
    size,
    remaining_position,
    pnl_so_far,
    metadata_json,
    event_type in ('entry', 'ladder_entry', 'scale_in', 're_entry') as is_buy,
    event_type in ('target_hit', 'stop_loss', 'trailing_stop', 'signal_exit', 'time_exit', 'final_exit')
        as is_sell
from {{ source('simulation_events') }} final
where simulation_run_id in (select published.simulation_run_id from {{ source('published_runs') }} as published)
