"""Is the winner of a search luck? The windows, splits and tests of a job, on the trials that it measures.

`JobJudge` is made before the first trial, because windows and periods follow from the calls alone; it takes every trial
that was run over all calls; at the end it searches windows anew where that is needed, and gives the verdict.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from quantbot_pipeline.engine.candles import BoolArray, FloatArray, IntArray
from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.backtest_overfitting import OverfittingEstimate, overfitting_estimate
from quantbot_pipeline.optimization.honesty.dependent_bootstrap import mean_result, periods_of_calls, sum_by_period
from quantbot_pipeline.optimization.honesty.permutation import PermutationResult
from quantbot_pipeline.optimization.honesty.scores_of_results import scores_by
from quantbot_pipeline.optimization.honesty.sensitivity import (
    Sensitivity,
    neighbourhood_sensitivity,
    places_around,
)
from quantbot_pipeline.optimization.honesty.sharpe_significance import DeflatedSharpe, deflate_winner
from quantbot_pipeline.optimization.honesty.time_splits import (
    PurgedSplit,
    combinatorial_purged_splits,
    values_along_paths,
    walk_forward_blocks,
)
from quantbot_pipeline.optimization.honesty.verdict import Answer, DecisionRule, Evidence, Verdict, verdict
from quantbot_pipeline.optimization.honesty.walk_forward import UnseenResults, mean_over_deviation
from quantbot_pipeline.optimization.measured_trials import MeasuredTrial, SearchCalls, TrainingWindow
from quantbot_pipeline.optimization.parameters import CategoricalParameter
from quantbot_pipeline.optimization.search import Failure, Metrics, SearchPlan, run_search
from quantbot_pipeline.optimization.search_evidence import ChosenTrial, SampledTrials, SearchEvidence, unseen_results
from quantbot_pipeline.optimization.study import Sampler, Study, Trial
from quantbot_pipeline.optimization.tally import SearchTally, TrialRecord
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.measure_trials import TrialMeter, run_again
from quantbot_pipeline.workflows.optimization_plan import OptimizationPlan, training_objective
from quantbot_pipeline.workflows.shuffle_calls import shuffled_calls_test

_MOST_LAID_OUT = 1_000
_LAID_OUT_KEPT = 200
_PILOT_ANCHORS = 8
_GROUPS, _TEST_GROUPS = 6, 2
_NEIGHBOURS = 30
_LOGIT_BINS = 40
_SHARPES_KEPT = 1_000
_RUN_AGAIN_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a job is worth, as it is stored: `verdict_json` and `evidence_json`."""

    verdict: dict[str, Any] | None
    evidence: dict[str, Any] | None


class JobJudge:
    """Gathers what the verdict on a job needs, and gives it.

    Args:
        plan: The job.
        calls: Its calls.
        meter: Measures trials.
        probes: Strategies that stand for the space, the template first: their trades say how long trades last.
    """

    def __init__(
        self, plan: OptimizationPlan, calls: SearchCalls, meter: TrialMeter, probes: Sequence[Strategy]
    ) -> None:
        self._plan = plan
        self._calls = calls
        self._meter = meter
        anchors = [plan.space.strategy(params) for params in plan.space.anchors[:_PILOT_ANCHORS]]
        pilots = [each for each in meter.measure([*probes, *anchors]) if isinstance(each, MeasuredTrial)]
        self._latest_done = np.max([calls.signal_timestamp, *(pilot.done_at for pilot in pilots)], axis=0)
        self._periods = periods_of_calls(calls.signal_timestamp, self._latest_done)
        self._has_candles = meter.data.has_candles(calls, probes)
        self.splits, self._why_no_windows = self._cut_windows()
        self._training = [self._window(split) for split in self.splits]
        self._objectives = [training_objective(plan.objective, len(split.train), len(calls)) for split in self.splits]
        self._evidence = SearchEvidence(
            len(calls),
            self._periods,
            window_count=0 if plan.searches_inside else len(self.splits),
            seed=plan.search.seed,
            draws=plan.draws,
        )
        self._laid_out: list[tuple[FloatArray, BoolArray]] = []

    @property
    def windows(self) -> Sequence[TrainingWindow]:
        """Training windows in which every trial is to be measured."""
        return () if self._plan.searches_inside else self._training

    def take(self, record: TrialRecord, trial: MeasuredTrial) -> None:
        """Take a trial that was run over all calls; in the order of their numbers."""
        scores = [
            objective.evaluate(metrics).score
            for objective, metrics in zip(self._objectives, trial.window_metrics, strict=False)
        ]
        self._evidence.add(
            record.index,
            record.params,
            trial,
            score=None if record.scores is None else record.scores[0],
            window_scores=scores,
        )

    def document(self) -> dict[str, Any]:
        """Return as JSON what a later process goes on from, before `judge`."""
        return self._evidence.document()

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take what an earlier process on the same job had gathered: the trials that it holds are run again.

        Args:
            document: What `document` returned there.

        Raises:
            SimulationError: one of the trials fails now.
        """
        trials: dict[int, MeasuredTrial] = {}
        for begin in range(0, len(document["trials"]), _RUN_AGAIN_AT_ONCE):
            part = document["trials"][begin : begin + _RUN_AGAIN_AT_ONCE]
            measured = self._meter.measure([self._plan.space.strategy(params) for _, params in part])
            trials |= {index: run_again(index, found) for (index, _), found in zip(part, measured, strict=True)}
        self._evidence.restore(document, trials)

    def judge(self, tally: SearchTally, on_progress: Callable[[str], None] = lambda _: None) -> Judgement:
        """Return what the job is worth; nothing where no trial has a score.

        Args:
            tally: Of the whole search.
            on_progress: Told what is being done.
        """
        winner = self._evidence.winner
        if winner is None:
            return Judgement(None, None)
        if self._plan.searches_inside:
            on_progress("searching inside the windows")
            chosen = [self._searched_inside(number) for number in range(len(self.splits))]
            on_progress("trying parameters that were laid out beforehand")
            self._add_laid_out()
        else:
            chosen = list(self._evidence.chosen)
        on_progress("testing the winner")
        unseen = unseen_results(chosen, self.splits, searched_inside=True)
        sample, column = self._evidence.sample()
        per_period = sum_by_period(sample.pnl, self._periods)
        overfitting = self._overfitting(per_period)
        deflated = deflate_winner(per_period, column, trial_count=max(self._evidence.own_count, per_period.shape[1]))
        sensitivity, neighbours = self._sensitivity(winner, tally)
        rule = DecisionRule(level=self._plan.level)
        evidence = Evidence(
            unseen=self._unseen_mean(unseen, chosen),
            unseen_count=len(unseen.pnl),
            searched_inside=True,
            winner=self._evidence.winner_test(),
            deflated=deflated,
            overfitting=overfitting,
            permutation=None,
            sensitivity=sensitivity,
            why_no_choice=self._why_no_choice(chosen),
        )
        found = verdict(evidence, rule)
        if found.answer is Answer.DISTINGUISHABLE and self._plan.shuffles:
            # Without a "yes" of the others this test can change nothing.
            on_progress("shuffling the calls")
            permutation = self._permutation(chosen, unseen)
            found = verdict(replace(evidence, permutation=permutation), rule)
        if evidence.why_no_choice and not any(evidence.why_no_choice in reason for reason in found.reasons):
            found = replace(found, cautions=(*found.cautions, f"Walk-forward: {evidence.why_no_choice}."))
        found = replace(found, cautions=(*found.cautions, *self._cautions(tally)))
        return Judgement(
            found.document(), self._document(winner, chosen, unseen, found, per_period, deflated, neighbours, tally)
        )

    def _cut_windows(self) -> tuple[list[PurgedSplit], str]:
        walk = self._plan.walk_forward
        # Calls that nothing can be bought on say nothing of parameters, and old ones would only stretch the time.
        usable = np.flatnonzero(self._has_candles)
        if not len(usable):
            return [], "no call has candles"
        try:
            splits = walk_forward_blocks(
                self._calls.signal_timestamp[usable],
                self._latest_done[usable],
                block_count=walk.windows,
                train_share=walk.train_share,
                embargo_seconds=walk.embargo_seconds,
            )
        except EvidenceError as error:
            return [], str(error)
        return [replace(split, train=usable[split.train], test=usable[split.test]) for split in splits], ""

    def _why_no_choice(self, chosen: Sequence[ChosenTrial | None]) -> str:
        """Return why windows traded nothing, a sentence without its full stop; empty if every window has a choice."""
        if not self.splits:
            return self._why_no_windows
        learned_from = [len(split.train) for split, choice in zip(self.splits, chosen, strict=True) if choice is None]
        if not learned_from:
            return ""
        return (
            f"{len(learned_from)} of {len(chosen)} windows chose nothing, because no trial has a score on the "
            f"{min(learned_from):,} to {max(learned_from):,} calls that they learn from; select more calls, ease the "
            "limits of the objective, or widen the space"
        )

    def _calls_without_candles(self) -> str:
        """Return a sentence on calls that are in no window; empty if there are none."""
        missing = int((~self._has_candles).sum())
        if not missing:
            return ""
        stamps = self._calls.signal_timestamp[self._has_candles]
        others = ""
        if len(stamps):
            others = f"; the others lie from {_iso(int(stamps[0]))[:10]} to {_iso(int(stamps[-1]))[:10]}"
        return (
            f"{missing:,} of {len(self._calls):,} calls have no candles and are in no window{others}. "
            "Load candles for them ('quantbot backfill'), or leave them out with --data."
        )

    def _window(self, split: PurgedSplit) -> TrainingWindow:
        is_train = np.zeros(len(self._calls), dtype=np.bool_)
        is_train[split.train] = True
        # A trial may hold longer than those that stood for the space: its late trades are left out.
        return TrainingWindow(is_train, split.test_windows[0][0] - self._plan.walk_forward.embargo_seconds)

    def _searched_inside(self, number: int) -> ChosenTrial | None:
        """Return the choice of a search that sees the calls of one training window alone."""
        plan, window = self._plan, self._training[number]
        best: ChosenTrial | None = None
        measured: dict[int, MeasuredTrial] = {}
        # The first points of a grid are a corner of it.
        sampler: Sampler = "random" if plan.search.sampler == "grid" else plan.search.sampler
        search = SearchPlan(
            space=plan.space,
            objective=self._objectives[number],
            sampler=sampler,
            seed=_seed(plan.search.seed, number),
            trial_count=min(plan.trial_count, plan.walk_forward.trials),
            batch_size=plan.search.batch_size,
        )

        def evaluate(trials: Sequence[Trial], _: int) -> list[Metrics | Failure]:
            outcomes: list[Metrics | Failure] = []
            strategies = [trial.strategy for trial in trials if trial.strategy is not None]
            for trial, found in zip(trials, self._meter.measure(strategies, [window]), strict=True):
                if isinstance(found, Failure):
                    outcomes.append(found)
                    continue
                measured[trial.index] = found
                outcomes.append(found.window_metrics[0])
            return outcomes

        def take(records: Sequence[TrialRecord], _: SearchTally) -> None:
            nonlocal best
            for record in records:
                if record.scores is not None and (best is None or record.scores[0] > best.score):
                    best = ChosenTrial.of(None, record.params, record.scores[0], measured[record.index])
            measured.clear()

        run_search(search, evaluate, tally=SearchTally(keep=1, sample_size=1), take_batch=take)
        return best

    def _add_laid_out(self) -> None:
        """Test about as many trials again that no sampler chose."""
        plan = self._plan
        count = min(self._evidence.own_count, _MOST_LAID_OUT)
        study = Study(plan.space, sampler="qmc", seed=_seed(plan.search.seed, 1_000), trial_count=count, batch_size=64)
        while trials := study.ask():
            strategies = [trial.strategy for trial in trials if trial.strategy is not None]
            for found in self._meter.measure(strategies):
                if isinstance(found, MeasuredTrial):
                    self._evidence.add_laid_out(found)
                    if len(self._laid_out) < _LAID_OUT_KEPT:
                        self._laid_out.append((found.pnl, found.is_bought))
            for trial in trials:
                study.tell(trial.index, None)

    def _unseen_mean(self, unseen: UnseenResults, chosen: Sequence[ChosenTrial | None]) -> Any:
        if not len(unseen.pnl):
            return None
        periods = periods_of_calls(
            self._calls.signal_timestamp[unseen.call],
            self._done_unseen(unseen, chosen),
            period_seconds=self._periods.seconds,
        )
        return mean_result(
            unseen.pnl,
            periods,
            seed=self._plan.search.seed + 1,
            draws=self._plan.draws,
            confidence=1 - self._plan.level,
        )

    def _done_unseen(self, unseen: UnseenResults, chosen: Sequence[ChosenTrial | None]) -> IntArray:
        done = []
        begin = 0
        for choice, count in zip(chosen, unseen.window_trades, strict=True):
            if choice is not None:
                done.append(choice.done_at[unseen.call[begin : begin + count]])
            begin += count
        return np.concatenate(done)

    def _overfitting(self, per_period: FloatArray) -> OverfittingEstimate | None:
        blocks = min(16, self._periods.count // 4 * 2)
        if blocks < 4 or per_period.shape[1] < 2:
            return None
        return overfitting_estimate(per_period, block_count=blocks)

    def _sensitivity(self, winner: ChosenTrial, tally: SearchTally) -> tuple[Sensitivity | None, list[dict[str, Any]]]:
        space, objective = self._plan.space, self._plan.objective
        typical = tally.sample.quantile(0.5)
        if typical is None:
            return None, []
        best = np.array(space.to_units(winner.params, [np.nan] * len(space.parameters)))
        is_kind = np.array([isinstance(parameter, CategoricalParameter) for parameter in space.parameters])
        places = places_around(best, is_kind=is_kind, count=_NEIGHBOURS, seed=self._plan.search.seed)
        around = [space.from_units(np.nan_to_num(place, nan=0.5).tolist()) for place in places]
        # Steps of a range bring places back to the best point, or onto each other.
        distinct = {repr(sorted(params.items())): params for params in around if params != dict(winner.params)}
        neighbours = [params for params in distinct.values() if space.is_valid(params)]
        scores = [
            objective.evaluate(found.metrics).score if isinstance(found, MeasuredTrial) else None
            for found in self._meter.measure([space.strategy(params) for params in neighbours])
        ]
        sensitivity = neighbourhood_sensitivity(
            np.array([np.nan if score is None else score for score in scores], dtype=np.float64),
            best_score=winner.score,
            typical_score=typical,
        )
        return sensitivity, [
            {"params": params, "score": score} for params, score in zip(neighbours, scores, strict=True)
        ]

    def _permutation(self, chosen: Sequence[ChosenTrial | None], unseen: UnseenResults) -> PermutationResult | None:
        choices = [
            (self._plan.space.strategy(choice.params), split.test)
            for choice, split in zip(chosen, self.splits, strict=True)
            if choice is not None
        ]
        return shuffled_calls_test(
            choices,
            self._calls,
            self._meter,
            observed=float(unseen.pnl.mean()),
            at_most=self._plan.shuffles,
            seed=self._plan.search.seed,
        )

    def _combinatorial(self, sample: SampledTrials) -> dict[str, Any] | None:
        """Return what the choice on some groups of days earned on the others, along every whole history."""
        trial_count = sample.pnl.shape[1]
        if trial_count < 2:
            return None
        try:
            splits = combinatorial_purged_splits(
                self._calls.signal_timestamp,
                self._latest_done,
                group_count=_GROUPS,
                test_group_count=_TEST_GROUPS,
                embargo_seconds=self._plan.walk_forward.embargo_seconds,
            )
        except EvidenceError:
            return None
        if not all(len(split.train) for split in splits.splits):
            return None
        is_by_objective = scores_by(self._plan.objective) is not None
        tested, traded = [], []
        for split in splits.splits:
            objective = training_objective(self._plan.objective, len(split.train), len(self._calls))
            learned = sample.pnl[split.train]
            score = scores_by(objective)
            scores = mean_over_deviation(learned) if score is None else score(learned, sample.is_bought[split.train])
            best = int(scores.argmax())
            # Without a choice nothing is bought.
            has_choice = scores[best] > -np.inf
            tested.append(sample.pnl[split.test, best] * has_choice)
            traded.append(sample.is_bought[split.test, best].astype(np.float64) * has_choice)
        counts = np.maximum(values_along_paths(splits, traded).sum(axis=1), 1)
        return {
            "group_count": _GROUPS,
            "test_group_count": _TEST_GROUPS,
            "split_count": len(splits.splits),
            "trial_count": trial_count,
            "chosen_by": str(self._plan.objective) if is_by_objective else "mean / deviation of the results",
            "path_means": (values_along_paths(splits, tested).sum(axis=1) / counts).tolist(),
        }

    def _cautions(self, tally: SearchTally) -> list[str]:
        cautions = []
        if missing := self._calls_without_candles():
            cautions.append(missing)
        if 0 < len(self.splits) < self._plan.walk_forward.windows:
            cautions.append(
                f"The walk-forward has {len(self.splits)} of {self._plan.walk_forward.windows} windows: the others "
                "have no call of their own, or no trade that was done in time to learn from."
            )
        cautions += self._ranges_beyond_data()
        if pruned := tally.counts.get("pruned", 0):
            cautions.append(
                f"{pruned} trials were given up early and are not among those that the winner was tested against."
            )
        overlap = self._plan.template.config.get("overlap", "independent")
        if overlap != "independent":
            cautions.append(
                f"Calls act on each other (overlap {overlap!r}): windows are those of a strategy that ran on all calls."
            )
        return cautions

    def _ranges_beyond_data(self) -> list[str]:
        """Return a sentence per range of seconds of which no data tell: its values are all alike."""
        if not self._has_candles.any():
            return []
        span = int(self._latest_done.max()) - int(self._calls.signal_timestamp[self._has_candles].min())
        return [
            f"{parameter.path} goes up to {parameter.high:,.0f} seconds, but calls and their trades span "
            f"{span:,} seconds ({span / 86_400:.1f} days): values beyond that can't differ."
            for parameter in self._plan.space.parameters
            if not isinstance(parameter, CategoricalParameter)
            and parameter.path.endswith("_seconds")
            and parameter.high > span
        ]

    def _document(
        self,
        winner: ChosenTrial,
        chosen: Sequence[ChosenTrial | None],
        unseen: UnseenResults,
        found: Verdict,
        per_period: FloatArray,
        deflated: DeflatedSharpe | None,
        neighbours: list[dict[str, Any]],
        tally: SearchTally,
    ) -> dict[str, Any]:
        overfitting = found.evidence.overfitting
        laid_out = SampledTrials.of(self._laid_out) if self._laid_out else None
        sample = self._evidence.sample()[0] if not self._plan.searches_inside else laid_out
        return {
            "winner": winner.index,
            "walk_forward": {
                "searched_inside": unseen.searched_inside,
                "reason": self._why_no_choice(chosen),
                "calls_without_candles": int((~self._has_candles).sum()),
                "windows": self._window_documents(chosen, unseen),
                "trades": self._trade_columns(chosen, unseen),
            },
            "combinatorial": None if sample is None else self._combinatorial(sample),
            "overfitting": None if overfitting is None else _logit_document(overfitting, per_period.shape[1]),
            "sharpes": {
                "per_period": _sharpes(per_period)[:_SHARPES_KEPT],
                "period_seconds": self._periods.seconds,
                "threshold": None if deflated is None else deflated.threshold,
                "winner": None if deflated is None else deflated.moments.sharpe,
            },
            "sensitivity": {
                "best_score": winner.score,
                "typical_score": tally.sample.quantile(0.5),
                "neighbours": neighbours,
            },
            "trials_tested": self._evidence.own_count,
            "trials_laid_out": self._evidence.laid_out_count,
        }

    def _window_documents(self, chosen: Sequence[ChosenTrial | None], unseen: UnseenResults) -> list[dict[str, Any]]:
        documents = []
        begin = 0
        for choice, split, count in zip(chosen, self.splits, unseen.window_trades, strict=True):
            test_from, test_to = split.test_windows[0]
            pnl = unseen.pnl[begin : begin + count]
            begin += count
            documents.append(
                {
                    "train_from": _iso(int(self._calls.signal_timestamp[split.train[0]])),
                    "test_from": _iso(test_from),
                    "test_to": _iso(test_to),
                    "train_calls": len(split.train),
                    "test_calls": len(split.test),
                    "purged_calls": split.purged_count,
                    "trial": None if choice is None else choice.index,
                    "params": None if choice is None else dict(choice.params),
                    "score": None if choice is None else choice.score,
                    "trades": count,
                    "mean_pnl": float(pnl.mean()) if count else None,
                }
            )
        return documents

    def _trade_columns(self, chosen: Sequence[ChosenTrial | None], unseen: UnseenResults) -> dict[str, list[Any]]:
        if not len(unseen.call):
            return {name: [] for name in ("call_id", "signal_s", "done_s", "pnl", "window")}
        window = np.repeat(np.arange(len(unseen.window_trades)), unseen.window_trades)
        order = np.argsort(unseen.call, kind="stable")
        call = unseen.call[order]
        return {
            "call_id": self._calls.call_id[call].tolist(),
            "signal_s": self._calls.signal_timestamp[call].tolist(),
            "done_s": self._done_unseen(unseen, chosen)[order].tolist(),
            "pnl": unseen.pnl[order].tolist(),
            "window": window[order].tolist(),
        }


def _seed(seed: int, number: int) -> int:
    """Return the seed of a search beside the job's own."""
    return (seed * 1_000_003 + number + 1) % 2**32


def _sharpes(per_period: FloatArray) -> list[float]:
    spread = per_period.std(axis=0)
    mean = per_period.mean(axis=0)
    ratio = np.divide(mean, spread, out=np.zeros(len(mean)), where=spread > 0)
    return [float(value) for value in ratio]


def _logit_document(overfitting: OverfittingEstimate, trial_count: int) -> dict[str, Any]:
    counts, edges = np.histogram(overfitting.logits, bins=_LOGIT_BINS)
    return {"trial_count": trial_count, "logit_edges": edges.tolist(), "logit_counts": counts.tolist()}


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat()
