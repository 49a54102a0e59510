"""Servers that run with the pipeline: embedded Postgres and ClickHouse, and Dagster's processes.

Start, attach, wait, stop. What is stored in them, and how, is no concern of this package; neither is SQL
beyond creating the databases.
"""
