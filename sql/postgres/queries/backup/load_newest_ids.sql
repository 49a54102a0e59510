-- grain: one row: newest ids that rows in ClickHouse may refer to; 0 where there are none
select
    coalesce((select max(id) from calls), 0) as call_id,
    coalesce((select max(id) from ml_models), 0) as model_id
