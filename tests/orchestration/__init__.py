"""The Dagster graph: keys, checks, sensors."""
