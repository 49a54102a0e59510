-- Waits until no other process backs up; held until unlocked, or until the connection ends.
select pg_advisory_lock(hashtextextended('quantbot backups', 0))
