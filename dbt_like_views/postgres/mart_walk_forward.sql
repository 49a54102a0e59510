/*
description: Did parameters that were chosen on the past earn on the calls that came after?
grain: one row per completed search and walk-forward window
columns:
  job_id: {meaning: Search}
  job_name: {meaning: Name of the search}
  completed_at: {meaning: When the search was completed, unit: UTC}
  strategy_name: {meaning: Strategy whose parameters were varied}
  strategy_version: {meaning: Its version}
  objective: {meaning: What parameters were chosen by}
  window_number: {meaning: "Position of the window, oldest first, from 1"}
  train_from: {meaning: First call that parameters were chosen on, unit: UTC}
  test_from: {meaning: Start of the window in which they were tried, unit: UTC}
  test_to: {meaning: "End of that window or of its last trade, whichever is later; the next may have begun", unit: UTC}
  train_call_count: {meaning: Calls that parameters were chosen on, unit: calls}
  purged_call_count: {meaning: "Calls left out between, as their trades reached into the test", unit: calls}
  test_call_count: {meaning: Calls in the window, unit: calls}
  chosen_trial_index: {meaning: Trial that was chosen; null where the window was searched anew or nothing had a score}
  chosen_params_json: {meaning: Parameters that were chosen; null without a choice, unit: JSON}
  train_score:
    meaning: Score of the choice on the calls that it was chosen on; null without a choice
    unit: as objective says
  test_trade_count: {meaning: Trades on the window's calls, unit: trades}
  test_mean_pnl: {meaning: Mean profit of these trades; null without any, unit: fraction of the trade's capital}
  test_total_pnl: {meaning: "Sum of their profits, each on capital 1", unit: capitals of a trade}
  test_cumulative_pnl: {meaning: test_total_pnl of this window and those before it, unit: capitals of a trade}
  was_searched_inside: {meaning: Whether the choice was made without any knowledge of the test, unit: true or false}
tests:
  - unique: [job_id, window_number]
  - expression: train_from < test_from and test_from < test_to
  - expression: test_trade_count <= test_call_count
  - expression: (test_trade_count = 0) = (test_mean_pnl is null)
notes: |
  The score of the training is in the unit of the objective, the result of the test is the mean profit of a trade:
  compare windows with each other, not the two columns. A search without windows (too few calls) has no row; its
  verdict says why.
*/
with
walks as (
    select
        jobs.id as job_id,
        jobs.evidence_json -> 'walk_forward' as document
    from {{ source('optimization_jobs') }} as jobs
    where
        jobs.status = 'completed'
        and jsonb_typeof(jobs.evidence_json #> '{walk_forward,windows}') = 'array'
),

windows as (
    select
        walks.job_id,
        elements.position as window_number,
        elements.part,
        (walks.document ->> 'searched_inside')::boolean as was_searched_inside
    from walks
    cross join lateral jsonb_array_elements(walks.document -> 'windows') with ordinality as elements (part, position)
),

results as (
    select
        windows.job_id,
        windows.window_number,
        windows.was_searched_inside,
        (windows.part ->> 'train_from')::timestamptz as train_from,
        (windows.part ->> 'test_from')::timestamptz as test_from,
        (windows.part ->> 'test_to')::timestamptz as test_to,
        (windows.part ->> 'train_calls')::bigint as train_call_count,
        (windows.part ->> 'purged_calls')::bigint as purged_call_count,
        (windows.part ->> 'test_calls')::bigint as test_call_count,
        (windows.part ->> 'trial')::integer as chosen_trial_index,
        nullif(windows.part -> 'params', 'null'::jsonb) as chosen_params_json,
        (windows.part ->> 'score')::double precision as train_score,
        (windows.part ->> 'trades')::bigint as test_trade_count,
        (windows.part ->> 'mean_pnl')::double precision as test_mean_pnl
    from windows
)

select
    results.job_id,
    jobs.name as job_name,
    jobs.completed_at,
    strategies.name as strategy_name,
    strategies.version as strategy_version,
    jobs.objective,
    results.window_number,
    results.train_from,
    results.test_from,
    results.test_to,
    results.train_call_count,
    results.purged_call_count,
    results.test_call_count,
    results.chosen_trial_index,
    results.chosen_params_json,
    results.train_score,
    results.test_trade_count,
    results.test_mean_pnl,
    coalesce(results.test_mean_pnl, 0) * results.test_trade_count as test_total_pnl,
    sum(coalesce(results.test_mean_pnl, 0) * results.test_trade_count) over (
        partition by results.job_id
        order by results.window_number
    ) as test_cumulative_pnl,
    results.was_searched_inside
from results
inner join {{ source('optimization_jobs') }} as jobs on results.job_id = jobs.id
inner join {{ source('strategies') }} as strategies on jobs.strategy_template_id = strategies.id
