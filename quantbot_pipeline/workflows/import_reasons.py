"""Why rows were refused, grouped: reasons that differ only in the value found are one kind."""

import re
from collections.abc import Iterable
from typing import Any

from quantbot_pipeline.ingest.quarantine import QuarantinedRow

KINDS_COUNTED = 1000
"""Kinds of reasons that are told apart in one file; further ones are counted together."""

KINDS_KEPT = 10
"""Kinds that are kept with an import, the largest first."""

# What a rule itself says, which holds for all rows of a kind.
_CONSTANTS = (
    r"rule 0 < low|volume >= 0|ISO 8601|0x followed by 40 hex digits|32 to 44 are allowed|must be 32|"
    r"2009 to 2099|since 1970|6 values|(?<![\w.])[0-9]{1,2}[smhdw]\b"
)
_VALUES = re.compile(rf"(?P<constant>{_CONSTANTS})|" + r"'[^']*'|\"[^\"]*\"|(?<![A-Za-z_])[-+]?[0-9][0-9.,:eE+TZ-]*")
# A list of values, such as the columns of a file, is one value more or less.
_LIST = re.compile(r"…(, …)+")


class ReasonCounts:
    """Counts of refused rows by kind of reason."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, QuarantinedRow] = {}

    def add(self, rows: Iterable[QuarantinedRow]) -> None:
        """Count rows."""
        for row in rows:
            kind = _LIST.sub("…", _VALUES.sub(lambda found: found["constant"] or "…", row.reason))
            if kind not in self._counts and len(self._counts) >= KINDS_COUNTED:
                kind = "other reasons"
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._examples.setdefault(kind, row)

    def largest(self) -> list[dict[str, Any]]:
        """Return the largest kinds: reason, rows, and the first row as an example."""
        kinds = sorted(self._counts, key=lambda kind: (-self._counts[kind], kind))[:KINDS_KEPT]
        return [
            {
                "reason": kind,
                "rows": self._counts[kind],
                "field": self._examples[kind].field,
                "line": self._examples[kind].line,
                "example": self._examples[kind].reason,
            }
            for kind in kinds
        ]
