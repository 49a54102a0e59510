-- grain: one row: how much history is stored
-- units: rows; events and aggregates of completed runs only, current and superseded
-- upstream: every table
with completed as
(
    select simulation_run_id
    from published_runs final
)

select
    (
        select toInt64(count())
        from ohlcv_candles final
    ) as candles,
    (
        select toInt64(count())
        from simulation_events final
        where simulation_run_id in (select simulation_run_id from completed)
    ) as events,
    (
        select toInt64(count())
        from simulation_aggregates final
        where simulation_run_id in (select simulation_run_id from completed)
    ) as aggregates,
    (
        select toInt64(count())
        from ml_features final
    ) as features,
    (
        select toInt64(count())
        from ml_scores final
    ) as scores
settings do_not_merge_across_partitions_select_final = 1
