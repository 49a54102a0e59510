-- grain: at most one row: the version that was in use. Runs before the new one becomes ready, because the
-- unique index allows one ready version per name at every moment.
update ml_models
set status = 'deprecated'
where name = %(name)s and version <> %(version)s and status = 'ready'
