-- Batches of one write; gone when the transaction ends.
create temporary table staged_batches (
    position integer not null,
    kind text not null,
    file text not null,
    sha256 text not null,
    options_key text not null,
    batch_number integer not null,
    rows_read bigint not null,
    rows_stored bigint not null,
    rows_duplicate bigint not null,
    rows_quarantined bigint not null,
    details_json jsonb not null
) on commit drop
