-- Registered models.
-- grain: one row per model version; those in use first, then the newest
-- parameters: model_limit
select
    name,
    version,
    model_type,
    status,
    jsonb_array_length(input_features_json) as feature_count,
    metrics_json
from ml_models
order by
    status = 'ready' desc,
    created_at desc,
    id desc
limit %(model_limit)s
