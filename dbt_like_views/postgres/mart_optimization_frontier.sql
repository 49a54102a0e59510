/*
description: "What did each parameter search find: its best trials and those that no other beats in every goal?"
grain: one row per completed search and trial that is on its Pareto front or among its twenty best
columns:
  job_id: {meaning: Search}
  job_name: {meaning: Name of the search}
  completed_at: {meaning: When the search was completed, unit: UTC}
  strategy_name: {meaning: Strategy whose parameters were varied}
  strategy_version: {meaning: Its version}
  objective: {meaning: What trials are ranked by}
  trial_count: {meaning: Trials of the search; null for searches of an older version, unit: trials}
  scored_trial_count: {meaning: Trials that have a score, unit: trials}
  trial_index: {meaning: "Position of the trial in the search, from 0"}
  score_rank: {meaning: "Place by the score of the first goal, then by trial_index; 1 is best", unit: rank}
  score: {meaning: Score of the first goal; higher is better, unit: as objective says}
  scores_json: {meaning: "Scores of all goals, higher is better; null for searches of an older version", unit: JSON}
  is_on_front:
    meaning: "Whether no other trial is at least as good in every goal and better in one; with one goal, the best trial"
    unit: true or false
  is_winner: {meaning: Whether it is the trial that was judged, unit: true or false}
  verdict:
    meaning: "Is the winner luck: distinguishable from luck, not distinguishable from luck, or too little data to say; null
      where it was not judged"
  trial_params_json: {meaning: Parameters by path, unit: JSON}
  trade_count: {meaning: Trades of the trial, unit: trades}
  mean_pnl: {meaning: Mean profit of a trade after costs, unit: fraction of the trade's capital}
  win_rate: {meaning: Share of trades with a profit after costs; null without a trade, unit: fraction of trades}
  max_drawdown: {meaning: Largest fall of the mean result from its peak, unit: fraction}
  simulation_run_id: {meaning: Run that measured the trial}
tests:
  - unique: [job_id, trial_index]
  - unique: [job_id, score_rank]
  - not_null: [score, trial_params_json]
  - relationships: {column: job_id, to: optimization_jobs.id}
  - accepted_values: {column: verdict, values: [distinguishable from luck, not distinguishable from luck, too little data to say]}
  - expression: scored_trial_count <= trial_count
  - expression: score_rank <= 20 or is_on_front
notes: |
  The best of many trials is flattered by luck: read verdict (docs/honesty.md) before a score. Ranks are over the
  trials that are stored; a search that keeps only some of them keeps the best and the front.
*/
with
ranked as (
    select
        trials.job_id,
        trials.trial_index,
        trials.score,
        trials.scores_json,
        trials.trial_params_json,
        trials.metrics_json,
        trials.simulation_run_id,
        row_number() over (
            partition by trials.job_id
            order by
                trials.score desc,
                trials.trial_index
        ) as score_rank
    from {{ source('optimization_trials') }} as trials
    where trials.state = 'scored'
),

on_front as (
    select
        jobs.id as job_id,
        (members.member ->> 'index')::integer as trial_index
    from {{ source('optimization_jobs') }} as jobs
    cross join lateral jsonb_array_elements(jobs.tally_json -> 'front') as members (member)
    where jsonb_typeof(jobs.tally_json -> 'front') = 'array'
),

counted as (
    select
        jobs.id as job_id,
        sum(counts.trial_count::bigint)::bigint as trial_count,
        sum(counts.trial_count::bigint) filter (where counts.state = 'scored')::bigint as scored_trial_count
    from {{ source('optimization_jobs') }} as jobs
    cross join lateral jsonb_each_text(jobs.tally_json -> 'counts') as counts (state, trial_count)
    where jsonb_typeof(jobs.tally_json -> 'counts') = 'object'
    group by jobs.id
)

select
    jobs.id as job_id,
    jobs.name as job_name,
    jobs.completed_at,
    strategies.name as strategy_name,
    strategies.version as strategy_version,
    jobs.objective,
    counted.trial_count,
    coalesce(counted.scored_trial_count, 0) as scored_trial_count,
    ranked.trial_index,
    ranked.score_rank,
    ranked.score,
    ranked.scores_json,
    on_front.trial_index is not null
    or (ranked.score_rank = 1 and jobs.id not in (select others.job_id from on_front as others)) as is_on_front,
    coalesce((jobs.evidence_json ->> 'winner')::integer = ranked.trial_index, ranked.score_rank = 1) as is_winner,
    jobs.verdict_json ->> 'answer' as verdict,
    ranked.trial_params_json,
    (ranked.metrics_json ->> 'trade_count')::bigint as trade_count,
    (ranked.metrics_json ->> 'final_pnl')::double precision as mean_pnl,
    (ranked.metrics_json ->> 'win_rate')::double precision as win_rate,
    (ranked.metrics_json ->> 'max_drawdown')::double precision as max_drawdown,
    ranked.simulation_run_id
from {{ source('optimization_jobs') }} as jobs
inner join {{ source('strategies') }} as strategies on jobs.strategy_template_id = strategies.id
inner join ranked on jobs.id = ranked.job_id
left join on_front on ranked.job_id = on_front.job_id and ranked.trial_index = on_front.trial_index
left join counted on jobs.id = counted.job_id
where
    jobs.status = 'completed'
    and (ranked.score_rank <= 20 or on_front.trial_index is not null)
