-- grain: one other session that holds a lock on views or their builds, or shuts others out of a table; the oldest first
select
    sessions.pid,
    coalesce(sessions.usename, '') as user_name,
    sessions.application_name,
    coalesce(sessions.state, '') as state,
    pg_catalog.to_char(
        sessions.state_change at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'
    ) as state_since
from pg_catalog.pg_stat_activity as sessions
where
    sessions.datname = pg_catalog.current_database()
    and sessions.pid <> pg_catalog.pg_backend_pid()
    and exists (
        select 1
        from pg_catalog.pg_locks as locks
        inner join pg_catalog.pg_class as relations on locks.relation = relations.oid
        inner join pg_catalog.pg_namespace as schemas on relations.relnamespace = schemas.oid
        where
            locks.pid = sessions.pid
            and locks.granted
            and locks.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
            and (
                schemas.nspname = 'view_builds'
                or (schemas.nspname = 'public' and relations.relkind = 'v')
                or (schemas.nspname = 'public' and locks.mode = 'AccessExclusiveLock')
            )
    )
order by sessions.xact_start asc nulls last, sessions.pid asc
