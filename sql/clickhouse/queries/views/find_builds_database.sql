-- grain: the database of builds, if it is there
select name
from system.databases
where name = {builds_database:String}
