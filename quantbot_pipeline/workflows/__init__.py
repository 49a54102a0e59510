"""What the pipeline does, step by step: read from stores, call the pure core, write to stores.

Assets and commands are thin covers over these functions; nothing here knows Dagster or a terminal.
"""
