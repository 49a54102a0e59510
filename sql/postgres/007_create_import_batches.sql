-- Files too large for memory are imported some neighbouring rows at a time. What was counted of each such batch is
-- kept, so that an import that was killed goes on where it stopped and ends with the counts of an undisturbed one.

create table import_batches (
    import_id bigint not null references imports (id) on delete cascade,
    batch_number integer not null check (batch_number >= 0),
    rows_read bigint not null check (rows_read >= 0),
    rows_stored bigint not null check (rows_stored >= 0),
    rows_duplicate bigint not null check (rows_duplicate >= 0),
    rows_quarantined bigint not null check (rows_quarantined >= 0),
    details_json jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    inserted_at timestamptz,
    primary key (import_id, batch_number),
    constraint import_batches_counts_add_up check (rows_read = rows_stored + rows_duplicate + rows_quarantined)
);

comment on table import_batches is
'One row per batch of neighbouring rows of an imported candle file; their sums are its import''s counts.';
comment on column import_batches.batch_number is 'From 0, in file order.';
comment on column import_batches.inserted_at is
'When the rows were in ClickHouse and the refused ones in quarantine; null: counted, perhaps not all inserted.';
comment on column import_batches.details_json is 'What the batch found: conflicts, kinds of reasons, token-months.';

alter table imports
add column rows_stored_before bigint not null default 0 check (rows_stored_before >= 0);

comment on column imports.rows_stored_before is
'Rows stored by batches of a dead attempt that a later reader cut otherwise: found again, they are no duplicates.';

alter table quarantine
add column batch_number integer;

comment on column quarantine.batch_number is 'The batch that the row was read in; null for an import without batches.';
