-- What was asked of HTTP sources of candles, so that it is asked once.
--
-- A candle that a source does not have means that nothing was traded; in ohlcv_candles it looks like one that was
-- never asked for. These ranges tell the two apart. They say nothing of rows: candles are in ClickHouse, what was
-- imported and refused is in imports and quarantine.
--
-- A range is begun before its import and fetched after it. One that stays begun was left by a run that died: its
-- candles may be stored already and its import not completed, so it is asked for again, alone and as a whole, and the
-- same answer then completes the same import.

create table fetched_ranges (
    id bigint generated always as identity primary key,
    token_id bigint not null references tokens (id) on delete cascade,
    source text not null check (source <> ''),
    interval text not null check (interval <> ''),
    start_at timestamptz not null,
    end_at timestamptz not null,
    rows_received bigint not null check (rows_received >= 0),
    begun_at timestamptz not null default clock_timestamp(),
    fetched_at timestamptz,
    constraint fetched_ranges_not_empty check (start_at < end_at),
    -- Also the index of its one query: all ranges of a token, a source and an interval.
    constraint fetched_ranges_unique unique (token_id, source, interval, start_at, end_at)
);

comment on table fetched_ranges is
'One row per page that a source answered; ranges of one token may touch and overlap.';
comment on column fetched_ranges.source is 'Who was asked: geckoterminal, birdeye.';
comment on column fetched_ranges.interval is 'Interval of the candles, such as 5m.';
comment on column fetched_ranges.start_at is 'First open time that is covered, UTC.';
comment on column fetched_ranges.end_at is 'End of what is covered, exclusive, UTC; only candles that had closed.';
comment on column fetched_ranges.begun_at is 'When the page had come, before anything of it was stored.';
comment on column fetched_ranges.fetched_at is 'When all of it was stored; null until then.';
comment on column fetched_ranges.rows_received is 'Rows that came with this page, usable or not; 0 for no trades.';


create table token_pools (
    id bigint generated always as identity primary key,
    token_id bigint not null references tokens (id) on delete cascade,
    source text not null check (source <> ''),
    pool_address text not null check (pool_address <> ''),
    side text not null check (side in ('base', 'quote')),
    pool_created_at timestamptz,
    chosen_at timestamptz not null default clock_timestamp(),
    -- One pool per token and source, for ever: candles of two pools in one series would be jumps that nobody traded.
    constraint token_pools_token_source_unique unique (token_id, source)
);

create index token_pools_pool_address on token_pools (pool_address);

comment on table token_pools is 'The pool whose candles stand for a token, as it was chosen when first asked for.';
comment on column token_pools.pool_address is 'Address of the pool as the source spells it.';
comment on column token_pools.side is 'Which of the pool''s two tokens the token is.';
comment on column token_pools.pool_created_at is 'When the pool was made, UTC; null while unknown.';
