-- A clock that is set back must not make what comes later look older. Versions of rows and the order of claims are
-- therefore later than what is stored, whatever the clock says.

create or replace function set_updated_at() returns trigger
language plpgsql
as $$
begin
    -- clock_timestamp, not now(): of two transactions that update one row, the later one gets the later
    -- time, also when it began earlier and waited. The mirror in ClickHouse versions its rows by it.
    new.updated_at = greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
    return new;
end;
$$;

create function set_claimed_at() returns trigger
language plpgsql
as $$
begin
    new.claimed_at = greatest(
        new.claimed_at,
        (
            select max(runs.claimed_at) + interval '1 microsecond'
            from simulation_runs as runs
            where runs.scope_key = new.scope_key
        )
    );
    return new;
end;
$$;

comment on function set_claimed_at() is
'Of the runs of a scope the last claimed one is current: later than all stored ones, also after the clock went back.';

create trigger simulation_runs_set_claimed_at before insert or update of claimed_at on simulation_runs
for each row execute function set_claimed_at();
