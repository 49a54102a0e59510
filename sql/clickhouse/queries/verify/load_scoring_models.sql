-- grain: one model that has scores
-- keys: model_id
select
    s.model_id as model_id,
    toInt64(count()) as score_count
from ml_scores as s final
group by model_id
order by model_id
