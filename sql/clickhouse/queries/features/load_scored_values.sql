-- grain: one call scored by a model itself, not by a walk-forward fold of it
-- keys: call_id
-- upstream: ml_scores
select
    s.call_id as call_id,
    s.score as score,
    s.values as values
from ml_scores as s final
where s.model_id = {model_id:Int64} and toUnixTimestamp(s.trained_until) = {trained_until:Int64}
order by call_id
