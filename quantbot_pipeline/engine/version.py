"""Version of the engine's semantics."""

ENGINE_VERSION = "2"
"""Part of every run's key: it changes whenever the same inputs may give other events or numbers.

2: windows are summed by doubling, which changes averages and bands in their last bits (decision 0011).
"""
