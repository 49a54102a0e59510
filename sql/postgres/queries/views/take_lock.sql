-- Serialises builds of views, in both databases, until the connection ends. The number has no meaning but must never
-- change.
select pg_catalog.pg_advisory_lock(7305091120443118)
