-- grain: one row per alert that has no call yet; sorted by time, so that ids of one import follow the order of
-- the calls.
insert into calls (
    alert_id,
    token_id,
    caller_id,
    side,
    signal_type,
    signal_strength,
    signal_timestamp,
    metadata_json,
    is_active,
    inactive_reason
)
select
    staged.alert_id,
    staged.token_id,
    staged.caller_id,
    staged.side,
    staged.signal_type,
    staged.signal_strength,
    staged.signal_timestamp,
    staged.metadata_json,
    staged.inactive_reason is null,
    staged.inactive_reason
from staged_calls as staged
order by staged.signal_timestamp, staged.alert_id
on conflict (alert_id) do nothing
