-- grain: one row per call of the feature set
-- keys: call_id
-- upstream: ml_features
select
    toInt64(call_id) as call_id,
    values
from ml_features final
where feature_set = {feature_set:String}
order by call_id
