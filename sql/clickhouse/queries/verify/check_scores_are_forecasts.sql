-- grain: one row: scores that say until when their model had learned, those that are not of a later call or of no
--   features that are there, the first of them
-- upstream: ml_scores, ml_features
with faults as
(
    select
        s.model_id as model_id,
        s.call_id as call_id,
        if(
            f.feature_set = '',
            concat('call ', toString(s.call_id), ' has a score by model ', toString(s.model_id), ' and no features'),
            concat(
                'call ', toString(s.call_id), ' of ', toString(f.signal_timestamp), ' has a score by model ',
                toString(s.model_id), ', which had learned until ', toString(s.trained_until)
            )
        ) as example
    from ml_scores as s final
    left join ml_features as f final on s.feature_set = f.feature_set and s.call_id = f.call_id
    where
        s.trained_until > toDateTime(0, 'UTC')
        and (f.feature_set = '' or f.signal_timestamp <= s.trained_until)
)

select
    toInt64((select count() from ml_scores)) as looked_at,
    toInt64(count()) as wrong,
    arrayMap(x -> x.3, arraySlice(arraySort(groupArray(1000)((model_id, call_id, example))), 1, 5)) as examples
from faults
settings join_use_nulls = 0
