-- grain: one row: the name under which others may read what this transaction sees
select pg_export_snapshot() as snapshot
