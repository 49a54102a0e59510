-- grain: one configuration that runs or strategies have, by the text of its hash and content, from after_text on
-- keys: place
select
    configs.place,
    configs.config_hash,
    configs.config_json,
    configs.owner
from (
    select
        runs.config_hash,
        (array_agg(runs.config_json order by runs.id))[1] as config_json,
        concat('run ', min(runs.id)) as owner,
        concat(runs.config_hash, ' ', md5(runs.config_json::text), ' run') as place
    from simulation_runs as runs
    group by runs.config_hash, md5(runs.config_json::text)
    union all
    select
        strategies.config_hash,
        strategies.config_json,
        concat('strategy ', strategies.name, ' ', strategies.version) as owner,
        concat(strategies.config_hash, ' ', strategies.id, ' strategy') as place
    from strategies
) as configs
where configs.place > %(after_text)s
order by configs.place
limit %(row_limit)s
