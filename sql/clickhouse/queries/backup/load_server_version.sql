-- grain: one row
select version() as server_version
