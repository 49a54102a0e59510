-- grain: one call of the feature set
-- keys: call_id
-- upstream: ml_features
select
    call_id,
    inputs_stamp
from ml_features final
where feature_set = {feature_set:String}
order by call_id
