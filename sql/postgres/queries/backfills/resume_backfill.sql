-- grain: the one row of a backfill that goes on
update backfills
set status = 'running', finished_at = null, dagster_run_id = %(dagster_run_id)s
where id = %(backfill_id)s
