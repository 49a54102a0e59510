-- grain: one call scored by one model, or by a walk-forward fold of it, of models with the given names
-- keys: model_id, call_id, trained_until
-- units: trained_until UTC seconds
-- upstream: ml_scores
-- Rows that do not say until when their model had learned are left out: they may have seen the call.
select
    s.call_id as call_id,
    toString(s.model_name) as model_name,
    s.model_id as model_id,
    toInt64(toUnixTimestamp(s.trained_until)) as trained_until,
    s.score as score
from ml_scores as s final
where
    s.model_name in {model_names:Array(String)}
    and s.call_id >= {first_call_id:Int64}
    and s.call_id <= {last_call_id:Int64}
    and s.trained_until > toDateTime(0, 'UTC')
order by call_id, model_name, trained_until, model_id
