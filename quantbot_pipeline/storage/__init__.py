"""Stores: what is kept in Postgres and ClickHouse, and how it is read and written. No Dagster here."""
