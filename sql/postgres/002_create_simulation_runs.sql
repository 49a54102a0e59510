-- Simulation runs and the one summary row of each completed run.

create table simulation_runs (
    id bigint generated always as identity primary key,
    strategy_id bigint not null references strategies (id),
    token_id bigint references tokens (id),
    caller_id bigint references callers (id),
    run_type text not null check (run_type in ('backtest', 'optimization', 'what_if', 'live_eval')),
    engine_version text not null check (engine_version <> ''),
    config_hash text not null check (config_hash ~ '^[0-9a-f]{64}$'),
    config_json jsonb not null,
    data_selection_json jsonb not null,
    run_key text not null check (run_key ~ '^[0-9a-f]{64}$'),
    scope_key text not null check (scope_key ~ '^[0-9a-f]{64}$'),
    window_start timestamptz not null,
    window_end timestamptz not null,
    status text not null check (status in ('pending', 'running', 'completed', 'failed')),
    attempt integer not null default 1 check (attempt >= 1),
    events_digest text,
    claimed_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    completed_at timestamptz,
    error_message text,
    superseded_by bigint references simulation_runs (id),
    superseded_at timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint simulation_runs_run_key_unique unique (run_key),
    constraint simulation_runs_window_not_empty check (window_start < window_end),
    constraint simulation_runs_completed_is_whole check (
        (status = 'completed') = (completed_at is not null and events_digest is not null)
    ),
    constraint simulation_runs_failed_says_why check (status <> 'failed' or error_message is not null),
    constraint simulation_runs_superseded_is_completed check (superseded_by is null or status = 'completed'),
    constraint simulation_runs_superseded_by_another check (superseded_by <> id),
    constraint simulation_runs_superseded_has_time check ((superseded_by is null) = (superseded_at is null))
);

create trigger simulation_runs_set_updated_at before update on simulation_runs
for each row execute function set_updated_at();

create index simulation_runs_strategy_window on simulation_runs (strategy_id, window_start);
create index simulation_runs_strategy_created on simulation_runs (strategy_id, created_at);
create index simulation_runs_token_window on simulation_runs (token_id, window_start);
create index simulation_runs_caller on simulation_runs (caller_id) where caller_id is not null;
create index simulation_runs_scope on simulation_runs (scope_key);
create index simulation_runs_superseded_by on simulation_runs (superseded_by) where superseded_by is not null;
create index simulation_runs_unfinished on simulation_runs (status) where status <> 'completed';

-- The database itself holds the rule that a scope has at most one current run.
create unique index simulation_runs_one_current_per_scope on simulation_runs (scope_key)
where status = 'completed' and superseded_by is null;

comment on table simulation_runs is
'One row per run key for ever: a failed or dead attempt''s row is taken over by the next attempt.';
comment on column simulation_runs.strategy_id is 'The strategy version; for a trial the template that it varies.';
comment on column simulation_runs.token_id is 'The token; null for a run over many tokens.';
comment on column simulation_runs.caller_id is 'The caller when only one caller''s calls were read, else null.';
comment on column simulation_runs.config_json is 'The full configuration that was simulated.';
comment on column simulation_runs.data_selection_json is
'Tokens, interval, window and the fingerprint of the candles and calls that were read.';
comment on column simulation_runs.run_key is 'sha256 hex, identity of the result: what was read and how.';
comment on column simulation_runs.scope_key is
'sha256 hex, what the run is about; of its completed runs the last claimed one is current.';
comment on column simulation_runs.window_start is 'Calls of the run are made at or after this time, UTC.';
comment on column simulation_runs.window_end is 'Calls of the run are made before this time, UTC.';
comment on column simulation_runs.status is 'Only completed runs may be read; their events are whole.';
comment on column simulation_runs.attempt is 'How often the run was begun.';
comment on column simulation_runs.events_digest is 'Digest of the run''s events; equal for equal keys.';
comment on column simulation_runs.claimed_at is
'When the run was last begun or made current again; orders the runs of a scope.';
comment on column simulation_runs.superseded_by is
'The run of the same scope that took this one''s place; null while this one is current.';


create table simulation_results_summary (
    simulation_run_id bigint primary key references simulation_runs (id) on delete cascade,
    -- Bounds below Infinity refuse NaN too: Postgres sorts NaN above every number.
    final_pnl double precision not null check (final_pnl > '-Infinity' and final_pnl < 'Infinity'),
    max_drawdown double precision check (max_drawdown >= 0 and max_drawdown < 'Infinity'),
    volatility double precision check (volatility >= 0 and volatility < 'Infinity'),
    sharpe_ratio double precision check (sharpe_ratio > '-Infinity' and sharpe_ratio < 'Infinity'),
    sortino_ratio double precision check (sortino_ratio > '-Infinity' and sortino_ratio < 'Infinity'),
    win_rate double precision check (win_rate between 0 and 1),
    trade_count bigint not null check (trade_count >= 0),
    avg_trade_return double precision
    check (avg_trade_return > '-Infinity' and avg_trade_return < 'Infinity'),
    median_trade_return double precision
    check (median_trade_return > '-Infinity' and median_trade_return < 'Infinity'),
    reentry_count bigint not null check (reentry_count >= 0),
    ladder_entries_used bigint not null check (ladder_entries_used >= 0),
    ladder_exits_used bigint not null check (ladder_exits_used >= 0),
    average_holding_minutes double precision
    check (average_holding_minutes >= 0 and average_holding_minutes < 'Infinity'),
    max_holding_minutes double precision
    check (max_holding_minutes >= 0 and max_holding_minutes < 'Infinity'),
    metadata_json jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp()
);

create index simulation_results_summary_pnl on simulation_results_summary (final_pnl desc);

comment on table simulation_results_summary is
'One row per completed run, written in the transaction that completes it. Ratios are null when undefined.';
comment on column simulation_results_summary.final_pnl is
'Mean net result of one unit of capital per trade, fraction; 0 without trades.';
comment on column simulation_results_summary.max_drawdown is
'Largest fall of (1 + equity) from its running peak, fraction.';
comment on column simulation_results_summary.volatility is 'Of daily equity changes, per year (sqrt 365).';
comment on column simulation_results_summary.sharpe_ratio is 'Of daily equity changes, per year (sqrt 365).';
comment on column simulation_results_summary.sortino_ratio is 'Of daily equity changes, per year (sqrt 365).';
comment on column simulation_results_summary.win_rate is 'Share of trades with pnl > 0, in [0, 1].';
comment on column simulation_results_summary.trade_count is 'Trades that bought at least once.';
comment on column simulation_results_summary.avg_trade_return is 'Mean pnl per trade, fraction of capital.';
comment on column simulation_results_summary.median_trade_return is 'Median pnl per trade, fraction of capital.';
comment on column simulation_results_summary.reentry_count is 'Events re_entry.';
comment on column simulation_results_summary.ladder_entries_used is 'Events ladder_entry.';
comment on column simulation_results_summary.ladder_exits_used is 'Events target_hit.';


create function refuse_change_of_used_strategy() returns trigger
language plpgsql
as $$
begin
    if exists (select 1 from simulation_runs where strategy_id = old.id) then
        raise exception
            'strategy % version % was used by simulation runs: its name, version and config are fixed; store a new version',
            old.name, old.version
            using errcode = 'restrict_violation';
    end if;
    return new;
end;
$$;

create trigger strategies_config_is_fixed before update on strategies
for each row
when (
    (old.name, old.version, old.config_json, old.config_hash)
    is distinct from (new.name, new.version, new.config_json, new.config_hash)
)
execute function refuse_change_of_used_strategy();

comment on function refuse_change_of_used_strategy() is
'A strategy version means one config for ever once a run used it.';
