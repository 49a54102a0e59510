-- What a simulation of the past must know of a score: until when its model had learned. One version of a model has
-- scores of several such times, of its walk-forward folds and of the model itself, so it is part of the key.
-- Rows from before do not say it (1970-01-01), and nothing reads them as usable; scoring again makes rows that do.

-- Grain: one call scored by one model, or by a walk-forward fold of it. Key: (model_id, call_id, trained_until).
-- trained_until: the latest time at which a label was known that anything fitted had seen.
-- feature_set and inputs_stamp name the row of ml_features that was read, `values` what stood there: rows of ml_features
-- are replaced when candles are corrected.
alter table ml_scores
add column if not exists trained_until DateTime('UTC'),
modify order by (model_id, call_id, trained_until);

alter table ml_scores
add column if not exists model_name LowCardinality(String) default '',
add column if not exists feature_set LowCardinality(String) default '',
add column if not exists inputs_stamp String default '' codec(ZSTD(1)),
add column if not exists `values` Map(LowCardinality(String), Float64) codec(ZSTD(1));
