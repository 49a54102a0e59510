"""Compiled kernels of the fast engine: plain numbers in, plain numbers out, no Python objects inside.

Every function with suffix `_nb` is compiled by numba, without relaxed floating point: the operations and their order
are those of the reference engine, so results are equal to the last bit.

- `compiling`: how kernels are compiled and kept; `market`: candles, and slippage.
- `trades`: the kernel that takes trades through their candles. `layout` has the columns and codes that it shares with
  Python, `trade_state` the state of a trade.
- One candle, in the order of `docs/engine.md`: `open_step`, `gap_step`, `inside_step`, `close_step`; what the steps
  share: `entries` (orders that wait to buy, also again), `targets`, `caller_actions` (exit, scale-out and scale-in
  calls) and `fills` (money and events). `quiet` passes over candles in which nothing can happen.
- `indicators` and `signals`: what strategies look at. `marks`: the value of trades at candle closes.
- `indicators`: those of `quantbot_pipeline.engine.indicators`. `signals`: comparisons, persistence, and which closes
  calls can see.
"""
