-- grain: one row: rows of all tables, natural keys that stand more than once, the first of them
-- Unique constraints hold this; here it is counted, whatever the indexes say.
with natural_keys as (
    select
        'tokens' as relation,
        concat_ws(' ', chain, address) as natural_key
    from tokens
    union all
    select
        'callers' as relation,
        concat_ws(' ', source, handle) as natural_key
    from callers
    union all
    select
        'caller_aliases' as relation,
        caller_id::text as natural_key
    from caller_aliases
    union all
    select
        'alerts' as relation,
        content_key as natural_key
    from alerts
    union all
    select
        'calls' as relation,
        concat('alert ', alert_id) as natural_key
    from calls
    union all
    select
        'strategies' as relation,
        concat_ws(' ', name, version) as natural_key
    from strategies
    union all
    select
        'simulation_runs' as relation,
        run_key as natural_key
    from simulation_runs
    union all
    select
        'simulation_results_summary' as relation,
        concat('run ', simulation_run_id) as natural_key
    from simulation_results_summary
    union all
    select
        'optimization_jobs' as relation,
        job_key as natural_key
    from optimization_jobs
    union all
    select
        'optimization_trials' as relation,
        concat('job ', job_id, ' trial ', trial_index) as natural_key
    from optimization_trials
    union all
    select
        'ml_models' as relation,
        concat_ws(' ', name, version) as natural_key
    from ml_models
    union all
    select
        'imports' as relation,
        concat_ws(' ', kind, sha256, options_key) as natural_key
    from imports
    union all
    select
        'import_batches' as relation,
        concat('import ', import_id, ' batch ', batch_number) as natural_key
    from import_batches
    union all
    select
        'fetched_ranges' as relation,
        concat_ws(' ', token_id, source, interval, start_at, end_at) as natural_key
    from fetched_ranges
    union all
    select
        'token_pools' as relation,
        concat_ws(' ', token_id, source) as natural_key
    from token_pools
),

broken as (
    select concat(relation, ': ', natural_key, ' stands ', count(*), ' times') as example
    from natural_keys
    group by relation, natural_key
    having count(*) > 1
)

select
    (select count(*) from natural_keys) as looked_at,
    (select count(*) from broken) as wrong,
    (
        select coalesce(jsonb_agg(first_ones.example), '[]')
        from (select example from broken order by example limit 5) as first_ones
    ) as examples
