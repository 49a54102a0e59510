-- Takes the lock of views/take_lock unless another build holds it.
select pg_catalog.pg_try_advisory_lock(7305091120443118) as is_taken
