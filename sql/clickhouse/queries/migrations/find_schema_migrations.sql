-- grain: one row: whether anything was ever applied
select count() as is_there
from system.tables
where database = currentDatabase() and name = 'schema_migrations'
