-- grain: one row: alerts, those that no completed import brought, the first of them
with broken as (
    select
        alerts.id,
        concat(
            'alert ', alerts.id, ' was brought by ',
            case
                when imports.id is null then 'no import'
                else concat('import ', imports.id, ' of ', imports.kind, ', which is ', imports.status)
            end
        ) as example
    from alerts
    left join imports on alerts.import_id = imports.id
    where imports.status is distinct from 'completed' or imports.kind <> 'alerts'
)

select
    (select count(*) from alerts) as looked_at,
    (select count(*) from broken) as wrong,
    (
        select coalesce(jsonb_agg(first_ones.example), '[]')
        from (select example from broken order by id limit 5) as first_ones
    ) as examples
