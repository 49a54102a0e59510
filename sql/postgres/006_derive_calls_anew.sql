-- Callers with several handles, alerts that a later import completes, and calls that can be derived anew.

create table caller_aliases (
    caller_id bigint primary key references callers (id),
    canonical_caller_id bigint not null references callers (id),
    created_at timestamptz not null default clock_timestamp(),
    constraint caller_aliases_of_another check (caller_id <> canonical_caller_id)
);

create index caller_aliases_canonical on caller_aliases (canonical_caller_id);

comment on table caller_aliases is
'One row per caller who is another one: their calls count as that one''s. A person said so; nothing is guessed.';
comment on column caller_aliases.caller_id is 'The handle that is another name.';
comment on column caller_aliases.canonical_caller_id is
'Whose other name it is; that one may be an alias itself, never in a circle.';

-- From the callers who are nobody's alias down: each caller comes once, whatever the length of the chain.
create view canonical_callers as
with recursive resolved as (
    select
        callers.id as caller_id,
        callers.id as canonical_caller_id
    from callers
    left join caller_aliases on callers.id = caller_aliases.caller_id
    where caller_aliases.caller_id is null
    union all
    select
        caller_aliases.caller_id,
        resolved.canonical_caller_id
    from caller_aliases
    inner join resolved on caller_aliases.canonical_caller_id = resolved.caller_id
)

select
    resolved.caller_id,
    resolved.canonical_caller_id
from resolved;

comment on view canonical_callers is 'One row per caller: who it is once aliases are followed; itself without one.';
comment on column canonical_callers.caller_id is 'A caller as alerts name it.';
comment on column canonical_callers.canonical_caller_id is 'The caller that its calls count for.';

comment on column callers.display_name is 'Name as shown, cleaned; of the caller''s newest alert that has one.';
comment on column callers.attributes_json is
'Lists: names, every name as shown; name_as_written and what else cleaning took from them.';

alter table alerts
add column message_id text,
add column chat_id text,
add column address_kind text not null default 'token' check (address_kind in ('token', 'pool')),
add column attributes_json jsonb not null default '{}',
add column filled_json jsonb not null default '{}',
add column updated_at timestamptz not null default clock_timestamp();

create trigger alerts_set_updated_at before update on alerts
for each row execute function set_updated_at();

comment on column alerts.message_id is 'The source''s id of the message; null when unknown.';
comment on column alerts.chat_id is 'The chat that the message is of; null when unknown.';
comment on column alerts.address_kind is
'Whether the token''s address is a token''s, or a pool''s whose token is not known.';
comment on column alerts.attributes_json is 'What else the import knows: notes, pool, forwarded_from and their like.';
comment on column alerts.filled_json is
'What the first import did not know and a later one did: import id by column. What was known is never changed.';

alter table calls
add column is_active boolean not null default true,
add column inactive_reason text,
add column updated_at timestamptz not null default clock_timestamp(),
add constraint calls_inactive_says_why check (is_active = (inactive_reason is null));

create trigger calls_set_updated_at before update on calls
for each row execute function set_updated_at();

comment on table calls is
'One row per alert for ever: what it asks for under the rules in force. Derived again, it keeps its id.';
comment on column calls.token_id is
'The alert''s token; for one whose chain nobody said, the token on the one chain that candles know it on.';
comment on column calls.caller_id is 'The alert''s caller once aliases are followed.';
comment on column calls.signal_strength is
'In [0, 1]: 1 - (1 - confidence) / 2^callers_before, see docs/ingest-calls.md; null if derived by older rules.';
comment on column calls.is_active is 'Whether the rules in force make it a call; simulations read active ones alone.';
comment on column calls.inactive_reason is 'Why they do not; null while it is active.';


create table call_derivations (
    id bigint generated always as identity primary key,
    rules_json jsonb not null,
    counts_json jsonb not null,
    derived_at timestamptz not null default clock_timestamp()
);

comment on table call_derivations is
'One row per derivation of calls that changed something; the rules of the last one are in force.';
comment on column call_derivations.rules_json is 'policy, cool_down_seconds, repetition_seconds.';
comment on column call_derivations.counts_json is 'Calls that were new, changed, put out of force, brought back.';


-- A run whose calls were all put out of force or moved to another token has no successor: nothing is left to compute.
alter table simulation_runs drop constraint simulation_runs_superseded_by_another;

comment on column simulation_runs.superseded_by is
'The run of the same scope that took this one''s place, itself if no call is left to it; null while it is current.';
