-- Whether everything is imported, simulated and up to date; what needs a look first.
-- grain: one row per measure
-- units: as in mart_pipeline_health
select
    area,
    measure,
    value,
    latest_at,
    is_problem,
    what_it_means
from mart_pipeline_health
order by is_problem desc, area, measure
