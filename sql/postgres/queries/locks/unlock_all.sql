-- Gives back every lock of names that this session holds.
select pg_advisory_unlock_all()
