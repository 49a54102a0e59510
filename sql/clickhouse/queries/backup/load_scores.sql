-- grain: one call scored by one model, of a range of calls. All columns: what is copied must be whole.
select *
from ml_scores final
where
    call_id >= {first_call_id:Int64}
    and call_id <= {last_call_id:Int64}
    and model_id <= {last_model_id:Int64}
