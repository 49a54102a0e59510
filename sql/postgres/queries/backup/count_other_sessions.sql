-- grain: one row: clients that are connected to this database, this one aside
select count(*) as sessions
from pg_catalog.pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
