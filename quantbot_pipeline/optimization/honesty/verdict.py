"""The verdict on a search: is its winner distinguishable from luck?

The rule says yes only if *every* test that was made says yes at the same level, each of them with its own answer to
"what would luck look like". Whatever the dependence between the tests, a rule of this kind errs no more often than
any one of its tests that is right about the data at hand (intersection-union test; Berger 1982, Technometrics 24).
What was not computed is not asked; the walk-forward and the test of the winner among all trials are always asked.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.backtest_overfitting import OverfittingEstimate, overfitting_estimate
from quantbot_pipeline.optimization.honesty.dependent_bootstrap import (
    MeanResult,
    mean_result,
    periods_of_calls,
    sum_by_period,
)
from quantbot_pipeline.optimization.honesty.permutation import PermutationResult
from quantbot_pipeline.optimization.honesty.reality_check import MIN_ACTIVE_PERIODS, WinnerTest, winner_test
from quantbot_pipeline.optimization.honesty.sensitivity import Sensitivity, Shape
from quantbot_pipeline.optimization.honesty.sharpe_significance import DeflatedSharpe, deflate_winner
from quantbot_pipeline.optimization.honesty.walk_forward import UnseenResults


class Answer(StrEnum):
    """What can be said of the winner of a search."""

    DISTINGUISHABLE = "distinguishable from luck"
    NOT_DISTINGUISHABLE = "not distinguishable from luck"
    TOO_LITTLE_DATA = "too little data to say"


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """Limits of the verdict.

    Attributes:
        level: Every test has to be passed at this level, in (0, 0.5); the chance of a false alarm is at most this.
        min_trades: Unseen trades below which nothing is said.
        min_periods: Periods with unseen trades below which nothing is said: resampling fewer says nothing.
        telling_edge: A "no" on fewer trades than show an edge of this many deviations of a trade in 4 of 5 cases is
            "too little data".
    """

    level: float = 0.05
    min_trades: int = 30
    min_periods: int = 20
    telling_edge: float = 0.5


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a search and its winner; None for what was not computed or can't be.

    Attributes:
        unseen: Mean result of the walk-forward's trades.
        unseen_count: Number of these trades.
        searched_inside: Whether the walk-forward's choices knew nothing of their tests.
        winner: The winner tested against all trials.
        deflated: Its deflated Sharpe ratio; decides only when `winner` is None.
        overfitting: Probability of backtest overfitting.
        permutation: Shuffled call times.
        sensitivity: Around the best point.
        why_no_choice: Why windows of the walk-forward chose nothing, without a full stop; empty if every one chose.
    """

    unseen: MeanResult | None
    unseen_count: int
    searched_inside: bool = True
    winner: WinnerTest | None = None
    deflated: DeflatedSharpe | None = None
    overfitting: OverfittingEstimate | None = None
    permutation: PermutationResult | None = None
    sensitivity: Sensitivity | None = None
    why_no_choice: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer and why.

    Attributes:
        answer: Is the winner distinguishable from luck?
        reasons: Sentences with the numbers that decided, most important first.
        cautions: Sentences that did not decide but that a reader should know.
        evidence: What it was decided on.
        rule: How.
        passed: Of each reason, whether the test that it tells of was passed; None for one that tells of no test.
    """

    answer: Answer
    reasons: tuple[str, ...]
    cautions: tuple[str, ...]
    evidence: Evidence
    rule: DecisionRule
    passed: tuple[bool | None, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the verdict with its numbers as JSON."""
        evidence = self.evidence
        unseen, winner, deflated = evidence.unseen, evidence.winner, evidence.deflated
        overfitting, permutation, around = evidence.overfitting, evidence.permutation, evidence.sensitivity
        return {
            "answer": self.answer.value,
            "reasons": list(self.reasons),
            "passed": list(self.passed),
            "cautions": list(self.cautions),
            "level": self.rule.level,
            "walk_forward": {
                "trade_count": evidence.unseen_count,
                "searched_inside": evidence.searched_inside,
            }
            | (
                {}
                if unseen is None
                else {
                    "mean": unseen.mean,
                    "low": unseen.low,
                    "high": unseen.high,
                    "confidence": unseen.confidence,
                    "p_value": unseen.p_value,
                    "period_count": unseen.period_count,
                    "independent_count": unseen.independent_count,
                    "detectable_edge": unseen.detectable_edge(),
                }
            ),
            "winner_among_trials": winner
            and {
                "p_value": winner.p_value,
                "statistic": winner.statistic,
                "typical_best": winner.typical_best,
                "tested_count": winner.tested_count,
                "untested_count": winner.untested_count,
            },
            "deflated_sharpe": deflated
            and {
                "probability": deflated.probability,
                "sharpe_per_period": deflated.moments.sharpe,
                "threshold": deflated.threshold,
                "trial_count": deflated.trial_count,
                "independent_count": deflated.independent_count,
            },
            "backtest_overfitting": overfitting
            and {
                "probability": overfitting.probability,
                "loss_probability": overfitting.loss_probability,
                "degradation_slope": overfitting.degradation_slope,
                "block_count": overfitting.block_count,
            },
            "permutation": permutation
            and {
                "p_value": permutation.p_value,
                "shuffle_count": permutation.shuffle_count,
                "stopped_early": permutation.stopped_early,
            },
            "sensitivity": around
            and {
                "shape": around.shape.value,
                "neighbour_count": around.neighbour_count,
                "holding_share": around.holding_share,
                "worst_drop": around.worst_drop,
            },
        }


def verdict(evidence: Evidence, rule: DecisionRule | None = None) -> Verdict:
    """Return the verdict on a search.

    Yes needs all of: a walk-forward mean above 0, the winner better than the best of as many lucky trials (without
    the trials' series: a deflated Sharpe ratio above 1 - level), shuffled calls that rarely do as well, if there are
    any, and a choice that loses on unseen halves less often than not, if that was estimated.

    Raises:
        EvidenceError: the level is out of bounds.
    """
    rule = DecisionRule() if rule is None else rule
    if not 0 < rule.level < 0.5:
        raise EvidenceError(f"level is {rule.level}; allowed is a number above 0 and below 0.5")
    cautions = tuple(_cautions(evidence, rule))
    if lacking := _lacking(evidence, rule):
        return Verdict(Answer.TOO_LITTLE_DATA, tuple(lacking), cautions, evidence, rule, (None,) * len(lacking))
    assert evidence.unseen is not None  # noqa: S101  _lacking has seen to it
    # What failed comes first; sorting keeps the order of the rest.
    asked = sorted(_questions(evidence, rule), key=lambda each: each[0])
    reasons, passed = tuple(sentence for _, sentence in asked), tuple(is_passed for is_passed, _ in asked)
    if all(passed):
        return Verdict(Answer.DISTINGUISHABLE, reasons, cautions, evidence, rule, passed)
    edge = evidence.unseen.detectable_edge()
    if edge > rule.telling_edge:
        blind = (
            f"{evidence.unseen_count:,} unseen trades, worth {_few(evidence.unseen.independent_count)} independent "
            f"ones, would show only an edge of {edge:.2f} deviations of a trade or more; {rule.telling_edge} is asked "
            "for."
        )
        return Verdict(Answer.TOO_LITTLE_DATA, (blind, *reasons), cautions, evidence, rule, (None, *passed))
    return Verdict(Answer.NOT_DISTINGUISHABLE, reasons, cautions, evidence, rule, passed)


def review_search(
    results: FloatArray,
    signal_timestamp: IntArray,
    done_at: IntArray,
    winner: int,
    unseen: UnseenResults,
    *,
    seed: int,
    trial_count: int | None = None,
    permutation: PermutationResult | None = None,
    sensitivity: Sensitivity | None = None,
    period_seconds: int | None = None,
    overfitting_blocks: int = 16,
    draws: int = 999,
    rule: DecisionRule | None = None,
) -> Verdict:
    """Return the verdict on a search whose trials' results per call are at hand.

    Args:
        results: Of each call by each trial, 0 where it did not buy, shape (n_calls, n_trials).
        signal_timestamp: When each call was made, seconds, shape (n_calls,).
        done_at: When its trade was done at the latest among trials, or by the winner; shape (n_calls,).
        winner: Column of the winner.
        unseen: The walk-forward's trades.
        seed: Seed of all resamples.
        trial_count: Trials of the whole search, when `results` holds only some of them.
        permutation: As in `Evidence`.
        sensitivity: As in `Evidence`.
        period_seconds: See `periods_of_calls`.
        overfitting_blocks: Blocks of `overfitting_estimate`; fewer are taken when there are too few periods.
        draws: Resamples of each test.
        rule: Limits of the verdict.

    Raises:
        EvidenceError: an argument is out of bounds.
    """
    rule = DecisionRule() if rule is None else rule
    periods = periods_of_calls(signal_timestamp, done_at, period_seconds=period_seconds)
    per_period = sum_by_period(results, periods)
    # Two periods per block at least, and an even number of blocks.
    blocks = min(overfitting_blocks, periods.count // 4 * 2)
    unseen_mean = None
    if len(unseen.pnl):
        unseen_periods = periods_of_calls(
            signal_timestamp[unseen.call], done_at[unseen.call], period_seconds=periods.seconds
        )
        unseen_mean = mean_result(unseen.pnl, unseen_periods, seed=seed + 1, draws=draws, confidence=1 - rule.level)
    return verdict(
        Evidence(
            unseen=unseen_mean,
            unseen_count=len(unseen.pnl),
            searched_inside=unseen.searched_inside,
            winner=winner_test(per_period, winner, periods, seed=seed, draws=draws),
            deflated=deflate_winner(per_period, winner, trial_count=trial_count),
            overfitting=(
                overfitting_estimate(per_period, block_count=blocks) if blocks >= 4 and results.shape[1] > 1 else None
            ),
            permutation=permutation,
            sensitivity=sensitivity,
        ),
        rule,
    )


def _lacking(evidence: Evidence, rule: DecisionRule) -> list[str]:
    """Return why nothing can be said, if so."""
    lacking = []
    if evidence.unseen_count < rule.min_trades:
        why = f": {evidence.why_no_choice}" if evidence.why_no_choice else ""
        lacking.append(f"The walk-forward made {evidence.unseen_count} trades; {rule.min_trades} are needed{why}.")
    elif evidence.unseen is None:
        lacking.append("The results of the walk-forward's trades do not vary, so nothing can be resampled.")
    if evidence.unseen is not None and evidence.unseen.period_count < rule.min_periods:
        lacking.append(
            f"The walk-forward's trades fall into {evidence.unseen.period_count} periods; "
            f"{rule.min_periods} are needed."
        )
    if evidence.winner is None and evidence.deflated is None:
        lacking.append(f"The winner has results in fewer than {MIN_ACTIVE_PERIODS} periods.")
    return lacking


def _questions(evidence: Evidence, rule: DecisionRule) -> list[tuple[bool, str]]:
    """Return what is asked, whether it is passed, and the sentence that says so."""
    unseen, winner, deflated = evidence.unseen, evidence.winner, evidence.deflated
    asked = []
    if unseen is not None:
        passed = unseen.p_value <= rule.level
        asked.append(
            (
                passed,
                f"Unseen trades of the walk-forward ({unseen.trade_count:,} in {unseen.period_count} periods) earned "
                f"{unseen.mean:+.2%} each, with {2 * unseen.confidence - 1:.0%} confidence between {unseen.low:+.2%} "
                f"and {unseen.high:+.2%}; p = {unseen.p_value:.3f}, {_needed(rule, passed=passed)}.",
            )
        )
    if winner is not None:
        passed = winner.p_value <= rule.level
        asked.append(
            (
                passed,
                f"The winner stands {winner.statistic:.1f} standard errors above 0, where the best of "
                f"{winner.tested_count:,} trials without an edge typically stands {winner.typical_best:.1f}; "
                f"p = {winner.p_value:.3f}, {_needed(rule, passed=passed)}.",
            )
        )
    elif deflated is not None:
        passed = deflated.probability >= 1 - rule.level
        asked.append(
            (
                passed,
                f"{_deflated_sentence(deflated)} {1 - rule.level:.2f} was needed. It decides here in place of the "
                f"reality check, which needs results of the winner in {MIN_ACTIVE_PERIODS} periods.",
            )
        )
    if evidence.permutation is not None:
        passed = evidence.permutation.p_value <= rule.level
        asked.append(
            (
                passed,
                f"Of {evidence.permutation.shuffle_count:,} shuffles of the calls' times, "
                f"{evidence.permutation.at_least_as_good:,} did at least as well; "
                f"p = {evidence.permutation.p_value:.3f}, {_needed(rule, passed=passed)}.",
            )
        )
    if evidence.overfitting is not None:
        loses = evidence.overfitting.loss_probability
        asked.append(
            (
                loses <= 0.5,
                f"The trial that was best on half of the periods lost on the other half in {loses:.0%} of "
                f"{len(evidence.overfitting.logits):,} splits; at most 50% was allowed.",
            )
        )
    return asked


def _cautions(evidence: Evidence, rule: DecisionRule) -> list[str]:
    """Return what a reader should know besides."""
    cautions = []
    if not evidence.searched_inside:
        cautions.append(
            "The walk-forward chose among trials that were proposed with knowledge of the calls it was tested on: its "
            "result is too good. Search anew inside each window, or with a sampler that does not learn."
        )
    if evidence.winner is not None and evidence.winner.untested_count:
        cautions.append(
            f"{evidence.winner.untested_count:,} trials have results in fewer than {MIN_ACTIVE_PERIODS} periods and "
            "were not tested against."
        )
    if evidence.winner is not None and evidence.deflated is not None and evidence.deflated.probability < 1 - rule.level:
        cautions.append(_deflated_sentence(evidence.deflated))
    if evidence.overfitting is not None and evidence.overfitting.probability >= 0.5:
        cautions.append(
            f"Probability of backtest overfitting {evidence.overfitting.probability:.0%}: choosing this trial over "
            "others of the search says little; a typical trial would do as well on unseen periods."
        )
    if evidence.sensitivity is not None and evidence.sensitivity.shape is not Shape.PLATEAU:
        cautions.append(evidence.sensitivity.sentence)
    return cautions


def _deflated_sentence(deflated: DeflatedSharpe) -> str:
    return (
        f"Deflated Sharpe ratio {deflated.probability:.2f}: the winner's {deflated.moments.sharpe:.3f} per period, "
        f"where luck gives the best of {deflated.trial_count:,} trials (worth {_few(deflated.independent_count)} "
        f"independent ones) {deflated.threshold:.3f}."
    )


def _few(number: float) -> str:
    """Return a number of trials or trades that are worth fewer: its tenths count where it is small."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"


def _needed(rule: DecisionRule, *, passed: bool) -> str:
    return f"within the {rule.level:g} allowed" if passed else f"above the {rule.level:g} allowed"
