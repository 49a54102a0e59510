/*
description: "Do the tables among these views hold what was simulated and imported since they were built?"
grain: one row per measure
columns:
  measure: {meaning: What is counted}
  value: {meaning: How many, unit: as measure says}
  latest_at: {meaning: When the newest of them happened; null without any, unit: UTC}
  is_problem: {meaning: "Whether somebody should run 'quantbot views build'", unit: true or false}
  what_it_means: {meaning: The measure in a sentence}
tests:
  - unique: [measure]
  - not_null: [value, is_problem]
  - expression: value >= 0
notes: |
  Told by the tables of runs and of candles, which every whole build fills; tables that a failing test of theirs keeps from
  being filled are named by 'quantbot views build' and in Dagster.
*/
with
shown as (
    select
        simulation_run_id,
        completed_at,
        data_quality
    from {{ ref('mart_runs_ranked') }}
),

current_runs as (
    select
        simulation_run_id,
        completed_at,
        data_quality
    from {{ ref('int_current_backtests') }}
),

stored_months as (
    select
        candles.chain as chain,
        candles.token_address as token_address,
        candles.`interval` as interval_name,
        toStartOfMonth(candles.timestamp) as month,
        -- As in mart_data_coverage.
        max(if(bitAnd(candles.flags, 4) != 0, addYears(candles.imported_at, 50), candles.imported_at)) as imported_at
    from {{ source('ohlcv_candles') }} as candles
    group by
        chain,
        token_address,
        interval_name,
        month
),

measures as (
    select
        'runs_not_in_tables' as measure,
        toInt64(count()) as value,
        maxOrNull(completed_at) as latest_at,
        'Current backtests that the tables do not show yet, or with an older verdict on their candles' as what_it_means
    from current_runs
    where
        (simulation_run_id, data_quality) not in (
            select
                shown.simulation_run_id,
                shown.data_quality
            from shown
        )
    union all
    select
        'superseded_runs_in_tables' as measure,
        toInt64(count()) as value,
        maxOrNull(completed_at) as latest_at,
        'Runs in the tables that are not current any more' as what_it_means
    from shown
    where simulation_run_id not in (select current_runs.simulation_run_id from current_runs)
    union all
    select
        'candle_months_not_in_tables' as measure,
        toInt64(count()) as value,
        maxOrNull(stored_months.imported_at) as latest_at,
        'Months of a token whose candles were imported after mart_data_coverage was filled' as what_it_means
    from stored_months
    where
        (
            stored_months.chain,
            stored_months.token_address,
            stored_months.interval_name,
            stored_months.month,
            stored_months.imported_at
        ) not in (
            select
                coverage.chain,
                coverage.token_address,
                coverage.interval_name,
                coverage.month,
                coverage.imported_at
            from {{ ref('mart_data_coverage') }} as coverage
        )
)

select
    measures.measure as measure,
    measures.value as value,
    measures.latest_at as latest_at,
    toBool(measures.value > 0) as is_problem,
    measures.what_it_means as what_it_means
from measures
