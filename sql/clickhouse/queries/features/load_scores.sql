-- grain: one call scored by one model, or by a walk-forward fold of it
-- keys: call_id, trained_until
-- units: trained_until UTC seconds, 0 where it is unknown
-- upstream: ml_scores
select
    s.call_id as call_id,
    toInt64(toUnixTimestamp(s.trained_until)) as trained_until,
    s.score as score,
    s.inputs_stamp as inputs_stamp
from ml_scores as s final
where s.model_id = {model_id:Int64}
order by call_id, trained_until
