-- grain: the one row of a backfill that begins
insert into backfills (selection_key, selection_json, status, token_month_count, dagster_run_id)
values (%(selection_key)s, %(selection_json)s, 'running', %(token_month_count)s, %(dagster_run_id)s)
returning id as backfill_id
