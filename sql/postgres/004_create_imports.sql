-- What was imported, and the rows that could not be used.

create table imports (
    id bigint generated always as identity primary key,
    kind text not null check (kind <> ''),
    file text not null,
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    options_key text not null,
    status text not null check (status in ('started', 'completed')),
    rows_read bigint not null check (rows_read >= 0),
    rows_stored bigint not null check (rows_stored >= 0),
    rows_duplicate bigint not null check (rows_duplicate >= 0),
    rows_quarantined bigint not null check (rows_quarantined >= 0),
    details_json jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    imported_at timestamptz,
    constraint imports_completed_has_time check ((status = 'completed') = (imported_at is not null)),
    constraint imports_content_unique unique (kind, sha256, options_key),
    constraint imports_counts_add_up check (rows_read = rows_stored + rows_duplicate + rows_quarantined)
);

create index imports_imported_at on imports (imported_at);

comment on table imports is
'One row per import of a file''s content with certain options; the counts are those of the first import.';
comment on column imports.status is
'started: counted, rows perhaps not all inserted; the next import of the same content finishes it.';
comment on column imports.kind is 'What was imported: candles, alerts.';
comment on column imports.file is 'Name of the file when it was first imported; its content is the key.';
comment on column imports.sha256 is 'Of the file''s bytes, hex.';
comment on column imports.options_key is 'Options that change what is read from the same bytes.';
comment on column imports.rows_duplicate is 'Rows of this file that were stored already, or twice in it.';
comment on column imports.details_json is 'What was touched, such as the token-months of a candle file.';


create table quarantine (
    id bigint generated always as identity primary key,
    import_id bigint not null references imports (id) on delete cascade,
    file text not null,
    line bigint,
    field text,
    reason text not null check (reason <> ''),
    raw_text text not null,
    created_at timestamptz not null default clock_timestamp()
);

create index quarantine_import on quarantine (import_id, line);

comment on table quarantine is 'One row per input row that could not be used; nothing is dropped silently.';
comment on column quarantine.line is 'Line (text files) or row (columnar files) in the file, from 1.';
comment on column quarantine.field is 'The field that is wrong; null when the row as a whole is.';
comment on column quarantine.reason is 'What was found and what is allowed.';
comment on column quarantine.raw_text is
'The row as it was. U+0000, which text cannot hold, is written as U+2400.';

alter table alerts
add constraint alerts_import_id_fkey foreign key (import_id) references imports (id);
