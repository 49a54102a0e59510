-- Backfills: what each was asked for, what became of its token-months, and what complete runs were known to read.

create table simulation_run_inputs (
    simulation_run_id bigint primary key references simulation_runs (id) on delete cascade,
    inputs_stamp text not null check (inputs_stamp ~ '^[0-9a-f]{64}$'),
    stamped_at timestamptz not null default clock_timestamp()
);

comment on table simulation_run_inputs is
'One row per run whose candles and calls were seen to give its run key; what has this stamp now need not be read.';
comment on column simulation_run_inputs.inputs_stamp is
'sha256 hex over contents of the months of candles, and the calls, that the run can read at most.';

create table backfills (
    id bigint generated always as identity primary key,
    selection_key text not null check (selection_key ~ '^[0-9a-f]{64}$'),
    selection_json jsonb not null,
    status text not null check (status in ('running', 'completed', 'failed')),
    token_month_count bigint not null check (token_month_count >= 0),
    dagster_run_id text,
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    constraint backfills_finished_has_time check ((status = 'running') = (finished_at is null))
);

create index backfills_selection on backfills (selection_key, id);

comment on table backfills is 'One row per backfill; one that goes on where it stopped keeps its row.';
comment on column backfills.selection_key is 'sha256 hex over the selectors as they were given.';
comment on column backfills.selection_json is 'The selectors as they were given.';
comment on column backfills.status is 'running, also of one whose process died; failed: some token-months failed.';
comment on column backfills.dagster_run_id is 'The Dagster run that recorded it last.';

create table backfill_token_months (
    backfill_id bigint not null references backfills (id) on delete cascade,
    chain text not null,
    token_address text not null,
    month text not null check (month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    status text not null check (status in ('done', 'failed')),
    reason text,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (backfill_id, chain, token_address, month),
    constraint backfill_token_months_failed_says_why check ((status = 'failed') = (reason is not null))
);

comment on table backfill_token_months is
'One row per token-month that a backfill came to; those without a row it never came to.';
