-- Until when a model had learned: the latest time at which a label was known that anything fitted of it had seen. Its
-- scores of calls before that are no forecasts. Models from before were trained on labels that were known when the last
-- window began, so that is late enough for them; those that do not say when it began have none, and score no call.

alter table ml_models add column trained_until timestamptz;

update ml_models
set trained_until = to_timestamp((metrics_json ->> 'test_start')::bigint)
where metrics_json ->> 'test_start' ~ '^[0-9]{1,12}$';

comment on column ml_models.trained_until is
'When the last label was known that anything fitted had seen; it scores calls after that. Null: unknown, scores none.';
