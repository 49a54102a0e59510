-- grain: the one row of a backfill that came to its end; failed where a token-month of it is
update backfills
set
    status = case
        when
            exists (
                select 1
                from backfill_token_months as outcomes
                where outcomes.backfill_id = %(backfill_id)s and outcomes.status = 'failed'
            )
            then 'failed'
        else 'completed'
    end,
    finished_at = clock_timestamp()
where id = %(backfill_id)s
