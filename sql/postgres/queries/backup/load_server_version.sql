-- grain: one row
select current_setting('server_version') as server_version
