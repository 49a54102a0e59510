-- Waits until no other session holds the lock of a name; it ends with the session that holds it.
select pg_advisory_lock(hashtextextended(%(name)s, 0))
