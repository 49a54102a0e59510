/*
description: "Why did runs, searches, token-months of backfills and rows of imported files fail?"
grain: one row per area and kind of reason; reasons that differ only in quoted values or in numbers are one kind
columns:
  area: {meaning: "runs, searches, backfills or quarantine"}
  reason: {meaning: "Kind of reason: quoted values are …, numbers are #"}
  failure_count: {meaning: Failures of this kind, unit: failures}
  first_at: {meaning: When the first of them happened, unit: UTC}
  last_at: {meaning: When the last of them happened, unit: UTC}
  example: {meaning: The last of them as it was told}
tests:
  - unique: [area, reason]
  - not_null: [area, reason, example]
  - accepted_values: {column: area, values: [runs, searches, backfills, quarantine]}
  - expression: failure_count > 0
  - expression: first_at <= last_at
notes: |
  Of runs, searches and rows of files the failures that stand now: what succeeded later, with other options also, is no
  failure any more. Of backfills all that were recorded.
*/
with
failures as (
    select
        'runs' as area,
        runs.error_message as message,
        runs.claimed_at as failed_at
    from {{ source('simulation_runs') }} as runs
    where runs.status = 'failed'
    union all
    select
        'searches' as area,
        jobs.error_message as message,
        coalesce(jobs.started_at, jobs.created_at) as failed_at
    from {{ source('optimization_jobs') }} as jobs
    where jobs.status = 'failed'
    union all
    select
        'backfills' as area,
        months.reason as message,
        months.recorded_at as failed_at
    from {{ source('backfill_token_months') }} as months
    where months.status = 'failed'
    union all
    select
        'quarantine' as area,
        quarantine.kind || coalesce(', ' || quarantine.field, '') || ': ' || quarantine.reason as message,
        quarantine.created_at as failed_at
    from {{ source('quarantined_rows') }} as quarantine
    where quarantine.resolved_at is null
)

select
    failures.area,
    regexp_replace(
        regexp_replace(failures.message, '''[^'']*''|"[^"]*"', '…', 'g'),
        '[0-9][0-9.eE+-]*',
        '#',
        'g'
    ) as reason,
    count(*) as failure_count,
    min(failures.failed_at) as first_at,
    max(failures.failed_at) as last_at,
    (array_agg(failures.message order by failures.failed_at desc, failures.message))[1] as example
from failures
group by
    failures.area,
    reason
