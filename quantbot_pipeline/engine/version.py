"""Version of the engine's semantics."""

ENGINE_VERSION = "3"
"""Part of every run's key: it changes whenever the same inputs may give other events or numbers.

2: windows are summed by doubling, which changes averages and bands in their last bits (decision 0011).
3: `stop_out_rate` is one of the metrics of a run.
"""
