-- A stamp of all that a call's features were computed from, sha256 hex: while it is the same they need not be built
-- again. Rows from before have none and are built once more.
alter table ml_features add column if not exists inputs_stamp String default '' codec(ZSTD(1));
