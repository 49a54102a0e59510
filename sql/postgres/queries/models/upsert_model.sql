-- grain: one row
insert into ml_models (
    name,
    version,
    model_type,
    input_features_json,
    label_definition,
    storage_uri,
    sha256,
    metrics_json,
    status,
    trained_until
)
values (
    %(name)s,
    %(version)s,
    %(model_type)s,
    %(input_features_json)s,
    %(label_definition)s,
    %(storage_uri)s,
    %(sha256)s,
    %(metrics_json)s,
    %(status)s,
    %(trained_until)s
)
on conflict (name, version) do update
set
    model_type = excluded.model_type,
    input_features_json = excluded.input_features_json,
    label_definition = excluded.label_definition,
    storage_uri = excluded.storage_uri,
    sha256 = excluded.sha256,
    metrics_json = excluded.metrics_json,
    status = excluded.status,
    trained_until = excluded.trained_until
returning id
