-- grain: one row per call of the feature set
-- keys: call_id
-- units: signal_timestamp UTC seconds
-- upstream: ml_features
select
    toInt64(f.call_id) as call_id,
    toInt64(toUnixTimestamp(f.signal_timestamp)) as signal_timestamp,
    f.inputs_stamp as inputs_stamp,
    f.values as values
from ml_features as f final
where f.feature_set = {feature_set:String}
order by call_id
