-- grain: one call that has features or scores, by id, from after_id on
-- keys: call_id
select distinct known.call_id as call_id
from
(
    select call_id
    from ml_features
    where call_id > {after_id:Int64}
    union all
    select call_id
    from ml_scores
    where call_id > {after_id:Int64}
) as known
order by call_id
limit {row_limit:UInt32}
