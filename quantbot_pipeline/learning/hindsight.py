"""Which columns tell what became of a call: they are refused as features, by name.

A name can't prove that a column was known at the call; it can show that it was not. What the import of alerts
takes for hindsight is hindsight here, and some words more.
"""

from collections.abc import Iterable

from quantbot_pipeline.errors import InputError, LearningError
from quantbot_pipeline.ingest.alerts.columns import is_known_afterwards, words_of
from quantbot_pipeline.learning.feature_registry import ATTRIBUTE_PREFIX, FEATURE_NAMES, FEATURE_SET

# Beside those of the import: words of columns such as x_multiple, future_price, TP1 hit, is_win, label_end.
_OUTCOME_WORDS = frozenset(
    {
        *("alltimehigh", "athx", "done", "exited", "final", "forward", "future", "gainer", "highest", "hit", "hits"),
        *("label", "later", "lifetime", "lowest", "maxgain", "mdd", "multiple", "multiples", "next", "outcomes"),
        *("performance", "profits", "pnls", "realised", "realized", "result", "results", "rugged", "rug"),
        *("sharpe", "sortino", "success", "successful", "target", "targets", "win", "wins", "winner", "winrate"),
        *("losses", "lost", "excursion", "peaked", "peaks", "unrealised", "unrealized"),
    }
)
# Whole names of a single letter or so that mean an outcome.
_OUTCOME_NAMES = frozenset({"xs", "y"})


def _is_outcome(name: str) -> bool:
    if name in FEATURE_NAMES:
        return False
    plain = name.removeprefix(ATTRIBUTE_PREFIX)
    return (
        is_known_afterwards(plain)
        or not _OUTCOME_WORDS.isdisjoint(words_of(plain))
        or plain.strip().casefold() in _OUTCOME_NAMES
    )


def refuse_outcome_columns(names: Iterable[str]) -> None:
    """Refuse columns that are known only after a call, such as `max_gain`.

    Raises:
        LearningError: a name is that of an outcome; the message lists all of them.
    """
    if outcomes := [name for name in names if _is_outcome(name)]:
        raise LearningError(
            f"columns {', '.join(outcomes)} are known only after the call, so a model that reads them looks "
            "into the future; allowed are features known at the signal, such as those of the feature set "
            f"{FEATURE_SET} ('quantbot features list')"
        )


def read_attribute_features(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a user's own features, `attribute:<column>`, sorted and each once.

    Raises:
        InputError: a name has not this form, or tells what became of the call.
    """
    wanted = sorted(set(names))
    for name in wanted:
        column = name.removeprefix(ATTRIBUTE_PREFIX)
        if column == name or not column.strip() or len(column) > 200 or not column.isprintable():
            raise InputError(
                f"feature {name!r}: allowed is {ATTRIBUTE_PREFIX}<column>, such as {ATTRIBUTE_PREFIX}score, with the "
                "name of a column of the alerts; features of the set are always built"
            )
        if _is_outcome(name):
            raise InputError(
                f"feature {name!r}: the column {column!r} tells what became of the call, which nobody knew when it "
                "was made, so a model that reads it looks into the future; allowed are columns whose values were "
                "stated at the alert"
            )
    return tuple(wanted)
