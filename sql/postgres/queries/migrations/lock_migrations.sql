-- One migrating process at a time, for both databases; the lock ends with the connection.
select pg_advisory_lock(hashtext('quantbot_pipeline.schema_migrations'))
