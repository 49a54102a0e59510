-- grain: one row per model version, of all names or one, newest first
-- keys: model_id
select
    models.id as model_id,
    models.name,
    models.version,
    models.model_type,
    models.input_features_json,
    models.label_definition,
    models.storage_uri,
    models.sha256,
    models.metrics_json,
    models.status,
    models.created_at,
    models.trained_until
from ml_models as models
where %(name)s::text is null or models.name = %(name)s
order by models.created_at desc, models.id desc
