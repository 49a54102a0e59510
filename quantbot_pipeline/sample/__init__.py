"""Invented data to try the pipeline on: the same for the same seed, everywhere. Pure but for its files."""
