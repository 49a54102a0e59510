-- grain: one row per stored call that is derived otherwise now; the columns say what it was.
-- metadata_json says how it was derived; a change of it alone is none of the call.
create temporary table changed_calls on commit drop as
select
    calls.id as call_id,
    calls.token_id,
    calls.signal_timestamp,
    calls.is_active as was_active,
    staged.inactive_reason is null as is_active,
    (
        calls.token_id,
        calls.caller_id,
        calls.side,
        calls.signal_type,
        calls.signal_timestamp
    ) is distinct from (
        staged.token_id,
        staged.caller_id,
        staged.side,
        staged.signal_type,
        staged.signal_timestamp
    ) as is_another
from calls
inner join staged_calls as staged on calls.alert_id = staged.alert_id
where
    (
        calls.token_id,
        calls.caller_id,
        calls.side,
        calls.signal_type,
        calls.signal_strength,
        calls.signal_timestamp,
        calls.metadata_json,
        calls.inactive_reason
    ) is distinct from (
        staged.token_id,
        staged.caller_id,
        staged.side,
        staged.signal_type,
        staged.signal_strength,
        staged.signal_timestamp,
        staged.metadata_json,
        staged.inactive_reason
    )
