-- grain: one row: how much of everything is stored
-- units: rows; the candle_ and alert_ columns sum over completed imports, each file's content
--   once, and over those batches of other imports whose rows are in
-- upstream: every table
with counted_imports as (
    select
        kind,
        rows_read,
        rows_stored,
        rows_duplicate,
        rows_quarantined
    from imports
    where status = 'completed'
    union all
    select
        imports.kind,
        recorded.rows_read,
        recorded.rows_stored,
        recorded.rows_duplicate,
        recorded.rows_quarantined
    from imports
    inner join import_batches as recorded on imports.id = recorded.import_id
    where imports.status = 'started' and recorded.inserted_at is not null
),

import_sums as (
    select
        coalesce(sum(rows_read) filter (where kind = 'candles'), 0)::bigint as candle_rows_read,
        coalesce(sum(rows_stored) filter (where kind = 'candles'), 0)::bigint as candle_rows_stored,
        coalesce(sum(rows_duplicate) filter (where kind = 'candles'), 0)::bigint as candle_rows_duplicate,
        coalesce(sum(rows_quarantined) filter (where kind = 'candles'), 0)::bigint
            as candle_rows_quarantined,
        coalesce(sum(rows_read) filter (where kind = 'alerts'), 0)::bigint as alert_rows_read,
        coalesce(sum(rows_stored) filter (where kind = 'alerts'), 0)::bigint as alert_rows_stored,
        coalesce(sum(rows_duplicate) filter (where kind = 'alerts'), 0)::bigint as alert_rows_duplicate,
        coalesce(sum(rows_quarantined) filter (where kind = 'alerts'), 0)::bigint
            as alert_rows_quarantined
    from counted_imports
),

run_counts as (
    select
        count(*) filter (where status = 'completed') as runs_completed,
        count(*) filter (where status = 'completed' and superseded_by is null) as runs_current,
        count(*) filter (where status = 'failed') as runs_failed,
        count(*) filter (where status = 'running') as runs_running
    from simulation_runs
)

select
    (select count(*) from tokens) as tokens,
    (select count(*) from callers) as callers,
    (select count(*) from alerts) as alerts,
    (select count(*) from calls) as calls,
    (select count(*) from calls where is_active) as calls_active,
    (select count(*) from strategies) as strategies,
    run_counts.runs_completed,
    run_counts.runs_current,
    run_counts.runs_failed,
    run_counts.runs_running,
    (select count(*) from optimization_trials) as trials,
    (select count(*) from optimization_jobs) as jobs,
    (select count(*) from ml_models where status = 'ready') as models_ready,
    import_sums.candle_rows_read,
    import_sums.candle_rows_stored,
    import_sums.candle_rows_duplicate,
    import_sums.candle_rows_quarantined,
    import_sums.alert_rows_read,
    import_sums.alert_rows_stored,
    import_sums.alert_rows_duplicate,
    import_sums.alert_rows_quarantined,
    (select count(*) from quarantine) as quarantined
from run_counts
cross join import_sums
