-- grain: one row
update ml_models
set status = %(status)s
where name = %(name)s and version = %(version)s
