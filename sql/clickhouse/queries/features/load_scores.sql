-- grain: one call scored by one model
-- keys: call_id
select
    s.call_id as call_id,
    s.score as score
from ml_scores as s final
where s.model_id = {model_id:Int64}
order by s.call_id
