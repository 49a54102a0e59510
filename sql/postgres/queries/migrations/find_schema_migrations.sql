-- grain: one row: whether anything was ever applied
select to_regclass('schema_migrations') is not null as is_there
