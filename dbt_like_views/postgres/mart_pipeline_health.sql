/*
description: "Is everything imported, simulated and up to date?"
grain: one row per measure; measures of things that are not there have the value 0
columns:
  area: {meaning: "imports, calls, fetches, runs, staleness, backfills, searches or models"}
  measure: {meaning: What is counted}
  value: {meaning: How many, unit: as measure says}
  latest_at: {meaning: When the newest of them happened; null without any, unit: UTC}
  is_problem: {meaning: Whether somebody should look at it, unit: true or false}
  what_it_means: {meaning: The measure in a sentence}
tests:
  - unique: [area, measure]
  - not_null: [value, is_problem, what_it_means]
  - accepted_values: {column: area, values: [imports, calls, fetches, runs, staleness, backfills, searches, models]}
  - expression: value >= 0
  - expression: not is_problem or value > 0
notes: |
  What the marts in ClickHouse that are tables do not show yet, its mart_table_freshness tells.
*/
with
last_run as (
    select
        max(runs.completed_at) as completed_at,
        (
            array_agg(runs.engine_version order by runs.completed_at desc, runs.id desc)
            filter (where runs.status = 'completed')
        )[1] as engine_version
    from {{ source('simulation_runs') }} as runs
    where runs.run_type = 'backtest'
),

-- Token-months that failed in a backfill and were not done by a later one.
failed_months as (
    select months.recorded_at
    from {{ source('backfill_token_months') }} as months
    where
        months.status = 'failed'
        and not exists (
            select 1
            from {{ source('backfill_token_months') }} as later
            where
                later.chain = months.chain
                and later.token_address = months.token_address
                and later.month = months.month
                and later.status = 'done'
                and later.recorded_at > months.recorded_at
        )
),

measures as (
    select
        'imports' as area,
        'files_completed' as measure,
        count(*) as value,
        max(imports.imported_at) as latest_at,
        false as is_problem_above_zero,
        'Files that were imported as a whole' as what_it_means
    from {{ source('imports') }} as imports
    where imports.status = 'completed'
    union all
    select
        'imports' as area,
        'files_started' as measure,
        count(*) as value,
        max(imports.created_at) as latest_at,
        true as is_problem_above_zero,
        'Files whose import did not end: running now, or to be repeated' as what_it_means
    from {{ source('imports') }} as imports
    where imports.status = 'started'
    union all
    select
        'imports' as area,
        'rows_stored' as measure,
        coalesce(sum(imports.rows_stored), 0)::bigint as value,
        max(imports.imported_at) as latest_at,
        false as is_problem_above_zero,
        'Rows of imported files that were stored' as what_it_means
    from {{ source('imports') }} as imports
    union all
    select
        'imports' as area,
        'rows_duplicate' as measure,
        coalesce(sum(imports.rows_duplicate), 0)::bigint as value,
        max(imports.imported_at) as latest_at,
        false as is_problem_above_zero,
        'Rows of imported files that were known already' as what_it_means
    from {{ source('imports') }} as imports
    union all
    select
        'imports' as area,
        'rows_quarantined' as measure,
        count(*) as value,
        max(quarantine.created_at) as latest_at,
        false as is_problem_above_zero,
        'Rows of imported files that could not be used; mart_failure_reasons says why' as what_it_means
    from {{ source('quarantine') }} as quarantine
    union all
    select
        'calls' as area,
        'calls_in_force' as measure,
        count(*) as value,
        max(calls.signal_timestamp) as latest_at,
        false as is_problem_above_zero,
        'Calls that simulations read; latest_at is the newest call' as what_it_means
    from {{ source('calls') }} as calls
    where calls.is_active
    union all
    select
        'calls' as area,
        'calls_not_in_force' as measure,
        count(*) as value,
        max(calls.signal_timestamp) as latest_at,
        false as is_problem_above_zero,
        'Alerts that the rules in force make no call of' as what_it_means
    from {{ source('calls') }} as calls
    where not calls.is_active
    union all
    select
        'fetches' as area,
        'pages_begun' as measure,
        count(*) as value,
        max(ranges.begun_at) as latest_at,
        true as is_problem_above_zero,
        'Answers of sources that were not stored to the end: the next fetch asks again' as what_it_means
    from {{ source('fetched_ranges') }} as ranges
    where ranges.fetched_at is null
    union all
    select
        'runs' as area,
        'runs_current' as measure,
        count(*) as value,
        max(runs.completed_at) as latest_at,
        false as is_problem_above_zero,
        'Completed backtests that dashboards show' as what_it_means
    from {{ source('simulation_runs') }} as runs
    where runs.run_type = 'backtest' and runs.status = 'completed' and runs.superseded_by is null
    union all
    select
        'runs' as area,
        'runs_superseded' as measure,
        count(*) as value,
        max(runs.superseded_at) as latest_at,
        false as is_problem_above_zero,
        'Completed backtests whose place a newer one took' as what_it_means
    from {{ source('simulation_runs') }} as runs
    where runs.run_type = 'backtest' and runs.superseded_by is not null
    union all
    select
        'runs' as area,
        'runs_pending' as measure,
        count(*) as value,
        max(runs.claimed_at) as latest_at,
        false as is_problem_above_zero,
        'Runs that wait' as what_it_means
    from {{ source('simulation_runs') }} as runs
    where runs.status = 'pending'
    union all
    select
        'runs' as area,
        'runs_running' as measure,
        count(*) as value,
        max(runs.claimed_at) as latest_at,
        false as is_problem_above_zero,
        'Runs that are computed now, or whose process died: the next attempt takes them over' as what_it_means
    from {{ source('simulation_runs') }} as runs
    where runs.status = 'running'
    union all
    select
        'runs' as area,
        'runs_failed' as measure,
        count(*) as value,
        max(runs.claimed_at) as latest_at,
        true as is_problem_above_zero,
        'Runs that ended with an error; mart_failure_reasons says why' as what_it_means
    from {{ source('simulation_runs') }} as runs
    where runs.status = 'failed'
    union all
    select
        'runs' as area,
        'runs_on_doubtful_candles' as measure,
        count(*) as value,
        max(runs.completed_at) as latest_at,
        false as is_problem_above_zero,
        'Current backtests whose candles were judged gaps, stale or sparse' as what_it_means
    from {{ ref('int_run_results') }} as runs
    where runs.data_quality in ('gaps', 'stale', 'sparse')
    union all
    select
        'staleness' as area,
        'calls_changed_since_last_run' as measure,
        count(*) as value,
        max(calls.updated_at) as latest_at,
        true as is_problem_above_zero,
        'Calls that were stored or changed after the last backtest was completed' as what_it_means
    from {{ source('calls') }} as calls
    cross join last_run
    where calls.updated_at > last_run.completed_at or last_run.completed_at is null
    union all
    select
        'staleness' as area,
        'imports_since_last_run' as measure,
        count(*) as value,
        max(imports.imported_at) as latest_at,
        true as is_problem_above_zero,
        'Files that were imported after the last backtest was completed' as what_it_means
    from {{ source('imports') }} as imports
    cross join last_run
    where
        imports.rows_stored > 0
        and (imports.imported_at > last_run.completed_at or last_run.completed_at is null)
    union all
    select
        'staleness' as area,
        'runs_of_other_engines' as measure,
        count(*) as value,
        max(runs.completed_at) as latest_at,
        true as is_problem_above_zero,
        'Current backtests by another version of the engine than the last one: simulate them again' as what_it_means
    from {{ ref('int_run_results') }} as runs
    cross join last_run
    where runs.engine_version <> last_run.engine_version
    union all
    select
        'backfills' as area,
        'backfills_running' as measure,
        count(*) as value,
        max(backfills.started_at) as latest_at,
        false as is_problem_above_zero,
        'Backfills that run, or whose process died: the same command goes on' as what_it_means
    from {{ source('backfills') }} as backfills
    where backfills.status = 'running'
    union all
    select
        'backfills' as area,
        'token_months_failed' as measure,
        count(*) as value,
        max(failed_months.recorded_at) as latest_at,
        true as is_problem_above_zero,
        'Months of tokens that failed in a backfill and were not done by a later one' as what_it_means
    from failed_months
    union all
    select
        'searches' as area,
        'searches_completed' as measure,
        count(*) as value,
        max(jobs.completed_at) as latest_at,
        false as is_problem_above_zero,
        'Parameter searches that ended' as what_it_means
    from {{ source('optimization_jobs') }} as jobs
    where jobs.status = 'completed'
    union all
    select
        'searches' as area,
        'searches_running' as measure,
        count(*) as value,
        max(jobs.started_at) as latest_at,
        false as is_problem_above_zero,
        'Parameter searches that run, or whose process died: the same command goes on' as what_it_means
    from {{ source('optimization_jobs') }} as jobs
    where jobs.status in ('pending', 'running')
    union all
    select
        'searches' as area,
        'searches_failed' as measure,
        count(*) as value,
        max(jobs.started_at) as latest_at,
        true as is_problem_above_zero,
        'Parameter searches that ended with an error; mart_failure_reasons says why' as what_it_means
    from {{ source('optimization_jobs') }} as jobs
    where jobs.status = 'failed'
    union all
    select
        'models' as area,
        'models_ready' as measure,
        count(*) as value,
        max(models.updated_at) as latest_at,
        false as is_problem_above_zero,
        'Models in use' as what_it_means
    from {{ source('ml_models') }} as models
    where models.status = 'ready'
    union all
    select
        'models' as area,
        'models_failed' as measure,
        count(*) as value,
        max(models.updated_at) as latest_at,
        false as is_problem_above_zero,
        'Model versions that are not better than their baselines' as what_it_means
    from {{ source('ml_models') }} as models
    where models.status = 'failed'
)

select
    measures.area,
    measures.measure,
    measures.value,
    measures.latest_at,
    measures.is_problem_above_zero and measures.value > 0 as is_problem,
    measures.what_it_means
from measures
