-- grain: one call in one feature set, of a range of calls. All columns: what is copied must be whole.
select *
from ml_features final
where call_id >= {first_call_id:Int64} and call_id <= {last_call_id:Int64}
