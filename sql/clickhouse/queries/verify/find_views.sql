-- grain: one view that is there
select name
from system.tables
where database = currentDatabase() and engine = 'View'
order by name
