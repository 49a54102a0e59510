-- grain: one row: alerts and calls, alerts without exactly one call and alerts that no import brought, the first
with counted as (
    select
        alerts.id,
        alerts.import_id,
        count(calls.id) as call_count
    from alerts
    left join calls on alerts.id = calls.alert_id
    group by alerts.id, alerts.import_id
),

broken as (
    select
        id,
        concat('alert ', id, ' has ', call_count, ' calls') as example
    from counted
    where call_count <> 1
)

select
    (select count(*) from counted) as looked_at,
    (select count(*) from broken) as wrong,
    (
        select coalesce(jsonb_agg(first_ones.example), '[]')
        from (select example from broken order by id limit 5) as first_ones
    ) as examples
