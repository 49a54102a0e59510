-- grain: one model that has scores
-- keys: model_id
-- units: trained_until UTC seconds, 0 where none of its scores says it; the latest of its scores
select
    s.model_id as model_id,
    toInt64(count()) as score_count,
    toInt64(toUnixTimestamp(max(s.trained_until))) as trained_until,
    arraySort(groupUniqArrayIf(toString(s.model_name), s.trained_until > toDateTime(0, 'UTC'))) as model_names
from ml_scores as s final
group by s.model_id
order by model_id
