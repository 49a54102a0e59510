"""What the read-only user of the embedded ClickHouse may ask.

The engine has one user and no grants, so the rules are kept here, in front of it, and by its own `readonly` setting
behind them. That setting alone would let a reader write a file (`into outfile`), read one (`file('/…')`), end others'
queries and call the network (`ai…`), so a statement is read first: it must begin with a word that asks, and may not
name what reaches outside of the database or only waits. Where the text could be read in two ways, it is refused.
"""

import re
from collections.abc import Iterable, Mapping

from quantbot_pipeline.servers.clickhouse_bodies import READONLY, ClickHouseError
from quantbot_pipeline.servers.clickhouse_statements import AmbiguousTextError, first_keyword, names_in

READER = "quantbot_reader"
"""Name of the user."""

LONGEST_SECONDS = 60
"""How long a reader's statement may take."""

_ASKING = ("SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN")

# Table functions that make rows of what they are given, or read tables of this database.
_HARMLESS_TABLE_FUNCTIONS = frozenset(
    {"numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "generateseries", "generate_series", "values", "null",
     "format", "view", "merge", "generaterandom", "sqlstandardvalues"}
)  # fmt: skip
_REACHING_OUT = "may read files, call the network or another server, or run programs"
_FORBIDDEN_NAMES = {
    **dict.fromkeys(("sleep", "sleepeachrow"), "would only hold a connection"),
    "outfile": "would write a file of the server",
    "infile": "would read a file of the server",
    **dict.fromkeys(("getserversetting", "getclienthttpheader", "currentrequesturl"), "would tell how the server runs"),
    **dict.fromkeys(("file", "evalmlmethod", "catboostevaluate"), _REACHING_OUT),
}
"""What each would do. The text does not say in time whether a name is one of a function, so none is allowed."""

# Settings that change how an answer looks or make it smaller. Others can read or write files, such as those of formats.
_ALLOWED_SETTINGS = frozenset(
    {"max_result_rows", "max_result_bytes", "result_overflow_mode", "max_rows_to_read", "max_block_size", "max_threads",
     "session_timezone", "join_use_nulls", "extremes", "readonly", "max_execution_time", "date_time_input_format",
     "date_time_output_format", "output_format_json_quote_64bit_integers", "output_format_json_quote_denormals",
     "output_format_json_named_tuples_as_objects", "output_format_native_encode_types_in_binary_format",
     "output_format_arrow_string_as_string", "output_format_binary_write_json_as_string", "use_uncompressed_cache",
     "log_comment", "max_memory_usage"}
)  # fmt: skip
_LARGEST_MEMORY_BYTES = 4 * 1024**3


class ReaderRules:
    """The rules, for one engine.

    Args:
        table_functions: Names of all that the engine has.
    """

    def __init__(self, table_functions: Iterable[str]) -> None:
        known = {name.lower() for name in table_functions}
        self._forbidden = (known - _HARMLESS_TABLE_FUNCTIONS) | _FORBIDDEN_NAMES.keys()

    def check(self, statement: bytes) -> None:
        """Refuse a statement that does more than ask.

        Raises:
            ClickHouseError: READONLY, with what was found and what is allowed.
        """
        keyword = first_keyword(statement)
        if keyword not in _ASKING:
            raise _refused(f"found {keyword or 'nothing'}; allowed are {', '.join(_ASKING)}")
        try:
            names = {name.lower() for name in names_in(statement)}
        except AmbiguousTextError as error:
            raise _refused(f"found {error}; allowed outside of quotes are the characters of plain SQL") from error
        if wrong := {name for name in names if name in self._forbidden or re.fullmatch(r"ai[a-z]+", name)}:
            found = "; ".join(
                f"found {name}, which {_FORBIDDEN_NAMES.get(name, _REACHING_OUT)}" for name in sorted(wrong)
            )
            raise _refused(f"{found}; such a name is refused wherever it is, also as that of a column or table")

    def settings(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Return the settings of a reader's request: those asked for and allowed, then the limits.

        Raises:
            ClickHouseError: READONLY, where another setting was asked for.
        """
        if wrong := sorted(asked.keys() - _ALLOWED_SETTINGS):
            raise _refused(
                f"Cannot modify {', '.join(wrong)}; allowed settings are {', '.join(sorted(_ALLOWED_SETTINGS))}"
            )
        chosen = dict(asked)
        chosen["max_execution_time"] = _at_most(asked.get("max_execution_time", ""), LONGEST_SECONDS)
        chosen["max_memory_usage"] = _at_most(asked.get("max_memory_usage", ""), _LARGEST_MEMORY_BYTES)
        chosen.pop("readonly", None)
        # Last: nothing can be set after it.
        chosen["readonly"] = "1"
        return chosen


def _at_most(asked: str, limit: int) -> str:
    """Return a limit that was asked for where it is the smaller one; 0 means none."""
    try:
        wanted = float(asked)
    except ValueError:
        return str(limit)
    return asked if 0 < wanted <= limit else str(limit)


def _refused(reason: str) -> ClickHouseError:
    return ClickHouseError(READONLY, f"user {READER} may only read: {reason}")
