"""Scores of stored calls for strategies that ask for them: which there are, which count, and how many calls have none.

`quantbot_pipeline.learning.score_choice` says which of several counts.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.reference import is_entry_call
from quantbot_pipeline.errors import InputError
from quantbot_pipeline.learning.score_choice import ChosenScore, ModelVersion, choose_scores, usable_models
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import CallRow
from quantbot_pipeline.strategy.model import Strategy


class ScoringVersion(NamedTuple):
    """A version of a model whose scores may be read.

    Attributes:
        version: Its name.
        status: `ready` or `deprecated`.
    """

    version: str
    status: str


@dataclass(frozen=True, slots=True)
class CallScores:
    """Scores of calls that simulations may use.

    Attributes:
        names: Models whose scores were read; nothing is known of others.
        chosen: By call and model; calls without a score are absent.
        versions: Which versions they may be of, by model id.
    """

    names: frozenset[str] = frozenset()
    chosen: Mapping[int, Mapping[str, ChosenScore]] = field(default_factory=dict)
    versions: Mapping[int, ScoringVersion] = field(default_factory=dict)

    def of_call(self, call_id: int, names: Iterable[str]) -> dict[str, ChosenScore]:
        """Return what those of the models say of a call that say anything."""
        known = self.chosen.get(call_id, {})
        return {name: known[name] for name in names if name in known}


NO_CALL_SCORES = CallScores()
"""Of calls that no strategy asks for the scores of."""


@dataclass(slots=True)
class ScoreCoverage:
    """How many of the calls that strategies trade have a score, by model.

    Attributes:
        calls: Entry calls that a strategy asks for a score of.
        scored: Those that have one.
        by_version: The same by model and version; a score of a walk-forward fold is of its version.
    """

    calls: Counter[str] = field(default_factory=Counter)
    scored: Counter[str] = field(default_factory=Counter)
    by_version: Counter[tuple[str, ScoringVersion]] = field(default_factory=Counter)

    def add(self, calls: Iterable[Call], scores: CallScores) -> None:
        """Count entry calls, each of which is given once."""
        entries = [call.call_id for call in calls if is_entry_call(call)]
        for name in scores.names:
            self.calls[name] += len(entries)
            found = [of_call[name] for call_id in entries if name in (of_call := scores.chosen.get(call_id, {}))]
            self.scored[name] += len(found)
            for model_id, count in Counter(score.model_id for score in found).items():
                self.by_version[name, scores.versions[model_id]] += count

    def document(self) -> dict[str, dict[str, int]]:
        """Return the counts as JSON, by model."""
        return {name: {"calls": count, "scored": self.scored[name]} for name, count in sorted(self.calls.items())}

    def sentences(self) -> list[str]:
        """Return for each model how many calls have a score, and by which versions."""
        sentences = []
        for name, count in sorted(self.calls.items()):
            parts = [
                f"{scored:,} by {found.version}" + ("" if found.status == "ready" else f" ({found.status})")
                for (model, found), scored in self.by_version.most_common()
                if model == name
            ]
            by = f": {', '.join(parts)}" if parts else ""
            sentences.append(f"scores of {name}: {self.scored[name]:,} of {count:,} calls have one{by}")
        return sentences

    def versions_document(self) -> dict[str, list[dict[str, str | int]]]:
        """Return as JSON, by model, how many calls are scored by which version, the most first."""
        return {
            name: [
                {"version": found.version, "status": found.status, "scored": scored}
                for (model, found), scored in self.by_version.most_common()
                if model == name
            ]
            for name in sorted(self.calls)
        }

    def warnings(self) -> list[str]:
        """Return a sentence for each model that says nothing of any call."""
        return [
            f"none of {count:,} calls has a score of model {name!r} that had learned before the call, so conditions on "
            f"it are false for all of them; 'quantbot models show {name}' says until when it learned, 'quantbot score' "
            "scores the calls after that"
            for name, count in sorted(self.calls.items())
            if count and not self.scored[name]
        ]


class CallScoreReader:
    """Reads the scores that some strategies ask for.

    Attributes:
        names: Models that they name, sorted.
    """

    def __init__(self, names: Collection[str], usable: Mapping[int, ScoringVersion], history: HistoryStore) -> None:
        self.names = tuple(sorted(names))
        self._usable = usable
        self._history = history

    @classmethod
    def of(cls, strategies: Iterable[Strategy], state: StateStore, history: HistoryStore) -> Self:
        """Return the reader for strategies; where none of them asks for a score, nothing is read at all.

        Raises:
            InputError: one names a model of which no version was ever ready.
        """
        asked = list(strategies)
        names = {name for strategy in asked for name in strategy.score_names()}
        return cls(names, require_models(asked, state), history)

    def read(self, calls: Collection[CallRow]) -> CallScores:
        """Return the scores of entry calls that count."""
        if not self.names:
            return NO_CALL_SCORES
        made_at = {call.call_id: call.signal_timestamp for call in calls if _is_entry(call)}
        if not made_at:
            return CallScores(frozenset(self.names))
        stored = self._history.load_call_scores(self.names, made_at.keys())
        return CallScores(frozenset(self.names), choose_scores(stored, made_at, self._usable), self._usable)


def require_models(strategies: Iterable[Strategy], state: StateStore) -> dict[int, ScoringVersion]:
    """Return the versions of models whose scores strategies may read, by model id; without conditions nothing is asked.

    Raises:
        InputError: a strategy names a model of which no version was ever ready.
    """
    asked: dict[str, str] = {}
    for strategy in strategies:
        for name in strategy.score_names():
            asked.setdefault(name, strategy.name)
    if not asked:
        return {}
    rows = state.load_models()
    versions = [ModelVersion(row.model_id, row.name, row.status) for row in rows]
    usable: set[int] = set()
    for name, strategy_name in asked.items():
        try:
            usable |= usable_models([name], versions)
        except InputError as error:
            raise InputError(f"strategy {strategy_name!r}: {error}") from error
    return {row.model_id: ScoringVersion(row.version, row.status) for row in rows if row.model_id in usable}


def _is_entry(call: CallRow) -> bool:
    """Return whether a stored call opens a trade."""
    return call.signal_type is SignalType.ENTRY and call.side is Side.BUY
