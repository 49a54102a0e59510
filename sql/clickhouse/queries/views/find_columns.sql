-- grain: one column of a build, in its order
select
    name as column_name,
    type as column_type
from system.columns
where database = {builds_database:String} and table = {build_name:String}
order by position
