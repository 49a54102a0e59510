-- grain: one row: times of alerts, calls and windows, those out of range, the first of them; and columns whose
--   type says no zone
-- units: from 1970 to `latest`, UTC
with stated as (
    select
        concat('alert ', id, ' was made at ') as owner,
        alert_timestamp as instant
    from alerts
    union all
    select
        concat('call ', id, ' was made at ') as owner,
        signal_timestamp as instant
    from calls
    union all
    select
        concat('call ', calls.id, ' has another time than its alert: ') as owner,
        case when calls.signal_timestamp <> alerts.alert_timestamp then '-infinity'::timestamptz end as instant
    from calls
    inner join alerts on calls.alert_id = alerts.id
    union all
    select
        concat('run ', id, ' begins at ') as owner,
        window_start as instant
    from simulation_runs
),

broken as (
    select concat(owner, instant) as example
    from stated
    where instant < '1970-01-01T00:00:00Z' or instant > %(latest)s::timestamptz
    union all
    select concat('column ', table_name, '.', column_name, ' is of type ', data_type) as example
    from information_schema.columns
    where table_schema = 'public' and data_type in ('timestamp without time zone', 'time without time zone')
)

select
    (select count(*) from stated) as looked_at,
    (select count(*) from broken) as wrong,
    (
        select coalesce(jsonb_agg(first_ones.example), '[]')
        from (select example from broken order by example limit 5) as first_ones
    ) as examples
