-- Gives back every lock of names that this connection holds.
select pg_advisory_unlock_all()
