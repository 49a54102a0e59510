-- grain: one other transaction that writes imports now: what it adds is seen when it ends, under ids of before
-- keys: pid
-- upstream: pg_locks
-- An insert takes this lock before it takes an id.
select distinct locks.pid
from pg_locks as locks
inner join pg_database as databases on locks.database = databases.oid
where
    databases.datname = current_database()
    and locks.relation = 'imports'::regclass
    and locks.mode = 'RowExclusiveLock'
    and locks.granted
    and locks.pid <> pg_backend_pid()
