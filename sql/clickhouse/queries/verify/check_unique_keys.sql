-- grain: one row: rows of all tables, logical keys that stand more than once, the first of them
-- Rows that only wait to be merged are no fault: every reader says final. Keys are grouped in the order in which they
-- are stored, so that memory does not grow with the tables.
with repeated as
(
    select
        'ohlcv_candles' as relation,
        concat(chain, ' ', token_address, ' ', interval, ' ', toString(timestamp)) as logical_key,
        count() as row_count
    from ohlcv_candles final
    group by chain, token_address, interval, timestamp
    having row_count > 1
    union all
    select
        'simulation_events' as relation,
        concat('run ', toString(simulation_run_id), ' call ', toString(call_id), ' seq ', toString(seq)) as logical_key,
        count() as row_count
    from simulation_events final
    group by simulation_run_id, call_id, seq
    having row_count > 1
    union all
    select
        'simulation_aggregates' as relation,
        concat('run ', toString(simulation_run_id), ' ', chain, ' ', token_address) as logical_key,
        count() as row_count
    from simulation_aggregates final
    group by simulation_run_id, chain, token_address
    having row_count > 1
    union all
    select
        'published_runs' as relation,
        concat('run ', toString(simulation_run_id)) as logical_key,
        count() as row_count
    from published_runs final
    group by simulation_run_id
    having row_count > 1
    union all
    select
        'published_calls' as relation,
        concat('call ', toString(call_id)) as logical_key,
        count() as row_count
    from published_calls final
    group by call_id
    having row_count > 1
    union all
    select
        'ml_features' as relation,
        concat(feature_set, ' call ', toString(call_id)) as logical_key,
        count() as row_count
    from ml_features final
    group by feature_set, call_id
    having row_count > 1
    union all
    select
        'ml_scores' as relation,
        concat(
            'model ', toString(model_id), ' call ', toString(call_id), ' trained until ', toString(trained_until)
        ) as logical_key,
        count() as row_count
    from ml_scores final
    group by model_id, call_id, trained_until
    having row_count > 1
)

select
    toInt64(
        (select count() from ohlcv_candles)
        + (select count() from simulation_events)
        + (select count() from simulation_aggregates)
        + (select count() from published_runs)
        + (select count() from published_calls)
        + (select count() from ml_features)
        + (select count() from ml_scores)
    ) as looked_at,
    toInt64(count()) as wrong,
    arraySlice(
        arraySort(groupArray(1000)(concat(relation, ': ', logical_key, ' stands ', toString(row_count), ' times'))), 1, 5
    ) as examples
from repeated
settings optimize_aggregation_in_order = 1, do_not_merge_across_partitions_select_final = 1
