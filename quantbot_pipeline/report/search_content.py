"""What the pictures of a search are drawn from: plain values. No database, no HTML here.

Scores are stored so that higher is better; `SearchGoal.shown` turns them back into what the metric says. Texts are
as they were stored: whoever shows them escapes them.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from quantbot_pipeline.optimization.parameters import CategoricalParameter, Parameter, same_json
from quantbot_pipeline.optimization.tally import TrialRecord


@dataclass(frozen=True, slots=True)
class SearchGoal:
    """What one score of a trial says.

    Attributes:
        text: The goal as it is written, such as `min:max_drawdown`.
        is_minimised: Whether the stored score is the metric with its sign changed.
    """

    text: str
    is_minimised: bool = False

    def shown(self, score: float) -> float:
        """Return the score as the metric that it is of."""
        # Adding 0 makes -0.0 a 0.
        return (-score if self.is_minimised else score) + 0.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between edges.

    Attributes:
        edges: Ascending, one more than counts.
        counts: At least 0 each.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SearchWindow:
    """One step of the walk-forward: chosen on what was known before, traded on what came next.

    Attributes:
        test_from: First UTC day of the window.
        test_to: The UTC day on which its last trade is done, which may lie in the next window.
        trial: The trial that was chosen; None where the window was searched anew.
        parameters: Path and value of what was chosen; None without a choice.
        score: Its score on the calls that it was chosen on; None without a choice.
        trade_count: Unseen trades.
        mean_pnl: Their mean result; None without any.
    """

    test_from: date
    test_to: date
    trial: int | None
    parameters: Mapping[str, Any] | None
    score: float | None
    trade_count: int
    mean_pnl: float | None


@dataclass(frozen=True, slots=True)
class WalkForwardCurve:
    """Results of trades that were made with parameters chosen before them.

    Attributes:
        days: UTC days on which calls of unseen trades were made, oldest first.
        values: Sum of their results up to and including the day, divided by the number of all of them; the last one
            is the mean result of an unseen trade.
        trade_count: How many unseen trades there are.
        windows: Oldest first.
        refusal: Why there are no windows; empty if there are.
    """

    days: tuple[date, ...]
    values: tuple[float, ...]
    trade_count: int
    windows: tuple[SearchWindow, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class SharpeSpread:
    """Sharpe ratios of the trials beside the one that luck alone would reach.

    Attributes:
        ratios: Sharpe ratios per period, of trials that have one.
        period_seconds: Length of a period.
        winner: The winner's ratio.
        threshold: Ratio that the best of as many trials without an edge is expected to have.
        probability: That the winner's true ratio is above the threshold: the deflated Sharpe ratio.
        trial_count: Trials that were made.
        independent_count: To how many independent trials they amount.
    """

    ratios: tuple[float, ...]
    period_seconds: int
    winner: float | None = None
    threshold: float | None = None
    probability: float | None = None
    trial_count: int = 0
    independent_count: float | None = None


@dataclass(frozen=True, slots=True)
class OverfittingSpread:
    """How the best trial of one half of the periods ranks on the other half.

    Attributes:
        logits: ln(rank / (1 - rank)) over the splits, rank in (0, 1) from worst to best.
        probability: Share of splits at or below 0: the probability of backtest overfitting.
    """

    logits: Histogram
    probability: float


@dataclass(frozen=True, slots=True)
class SearchVerdict:
    """Is the winner luck? In words.

    Attributes:
        answer: `distinguishable from luck`, `not distinguishable from luck` or `too little data to say`.
        reasons: Sentences with the numbers that decided, most important first.
        cautions: Sentences that did not decide.
        passed: Of each reason, whether its test was passed; None for one that tells of no test. Empty in verdicts from
            before this was stored.
    """

    answer: str
    reasons: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    passed: tuple[bool | None, ...] = ()

    def marked_reasons(self) -> list[str]:
        """Return the reasons, each with a mark whether its test was passed."""
        passed = self.passed or (None,) * len(self.reasons)
        marks = {True: "\N{HEAVY CHECK MARK} passed: ", False: "\N{HEAVY BALLOT X} failed: ", None: ""}
        return [marks[is_passed] + reason for is_passed, reason in zip(passed, self.reasons, strict=True)]


@dataclass(frozen=True, slots=True)
class SearchContent:
    """A search as it is stored.

    Attributes:
        job_id: Id of the job.
        name: Name of the job.
        status: pending, running, completed or failed.
        objective: What it improves, as it is written.
        goals: One per score.
        template: Name of the strategy whose fields vary; empty when unknown.
        sampler: How parameters were proposed; empty when unknown.
        seed: Its seed.
        parameters: What varies, in the order of the space.
        trial_count: All trials.
        counts: Number of trials by state.
        reasons: By state, index and reason of the first few trials without a score.
        trials: The trials to draw, by index; a sample of them when `is_sample`.
        is_sample: Whether `trials` are some of the trials only.
        best: The best trials, best first.
        front: With several goals, the trials that no other one beats.
        dropped_from_front: Trials that left a front that was full.
        run_ids: Trial → simulation run.
        verdict: Whether the winner is luck; None when it was not asked.
        walk_forward: Results on unseen calls.
        sharpes: Sharpe ratios of the trials.
        overfitting: Overfitting logits.
        path_means: Mean result per trade of each history that combinatorial cross-validation puts together.
        note: Why the job is not what was asked for, in a sentence; empty if it is.
    """

    job_id: int
    name: str
    objective: str
    goals: tuple[SearchGoal, ...]
    parameters: tuple[Parameter, ...] = ()
    status: str = "completed"
    template: str = ""
    sampler: str = ""
    seed: int | None = None
    trial_count: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, Sequence[tuple[int, str]]] = field(default_factory=dict)
    trials: tuple[TrialRecord, ...] = ()
    is_sample: bool = False
    best: tuple[TrialRecord, ...] = ()
    front: tuple[TrialRecord, ...] = ()
    dropped_from_front: int = 0
    run_ids: Mapping[int, int] = field(default_factory=dict)
    verdict: SearchVerdict | None = None
    walk_forward: WalkForwardCurve | None = None
    sharpes: SharpeSpread | None = None
    overfitting: OverfittingSpread | None = None
    path_means: tuple[float, ...] = ()
    note: str = ""

    def scored(self) -> list[TrialRecord]:
        """Return the trials to draw that have finite scores, by index."""
        return [trial for trial in self.trials if first_score(trial) is not None]


def first_score(trial: TrialRecord) -> float | None:
    """Return a trial's score by its first goal; None unless all of its scores are finite."""
    if not trial.scores or not all(map(math.isfinite, trial.scores)):
        return None
    return trial.scores[0]


def value_text(value: Any) -> str:
    """Return a parameter's value as a person would write it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def shortened(text: str, length: int) -> str:
    """Return a text that is cut in the middle where it is longer than `length`."""
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def choices_of(parameter: CategoricalParameter, trials: Iterable[TrialRecord]) -> list[Any]:
    """Return the choices of a parameter, and behind them what trials hold besides."""
    found: list[Any] = list(parameter.choices)
    for trial in trials:
        if parameter.path in trial.params:
            value = trial.params[parameter.path]
            if not any(same_json(choice, value) for choice in found):
                found.append(value)
    return found


def choice_position(choices: list[Any], value: Any) -> int:
    """Return the position of a value among choices that hold it."""
    return next(k for k, choice in enumerate(choices) if same_json(choice, value))
