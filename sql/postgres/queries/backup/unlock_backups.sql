-- End the turn of this connection at backing up.
select pg_advisory_unlock(hashtextextended('quantbot backups', 0))
