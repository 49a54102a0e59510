-- grain: at most one row
-- keys: name, version
select status
from ml_models
where name = %(name)s and version = %(version)s
