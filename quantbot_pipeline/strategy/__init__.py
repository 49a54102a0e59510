"""Strategies as declarative documents: the typed model, its JSON form, hashing and the presets. Pure."""
