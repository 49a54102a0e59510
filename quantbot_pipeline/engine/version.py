"""Version of the engine's semantics."""

ENGINE_VERSION = "1"
"""Part of every run's key: it changes whenever the same inputs may give other events or numbers."""
