-- grain: one row per changed call; the id stays, so that runs and events keep what they refer to.
update calls
set
    token_id = staged.token_id,
    caller_id = staged.caller_id,
    side = staged.side,
    signal_type = staged.signal_type,
    signal_strength = staged.signal_strength,
    signal_timestamp = staged.signal_timestamp,
    metadata_json = staged.metadata_json,
    is_active = staged.inactive_reason is null,
    inactive_reason = staged.inactive_reason
from staged_calls as staged, changed_calls as changed
where calls.id = changed.call_id and calls.alert_id = staged.alert_id
