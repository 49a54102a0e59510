"""The tests of views' headers as SQL, and what they found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views.files import ViewTest

ACCEPTED_VALUES = "⟨values⟩"
"""Where a statement takes the accepted values as a parameter."""

_NOT_ACCEPTED: dict[Database, str] = {
    "postgres": f"cast({{column}} as text) <> all({ACCEPTED_VALUES})",
    "clickhouse": f"not has({ACCEPTED_VALUES}, toString({{column}}))",
}
_AS_TEXT: dict[Database, str] = {"postgres": "cast({column} as text)", "clickhouse": "toString({column})"}

EXAMPLES_SHOWN = 3
"""How many of what fails a test are told."""


@dataclass(frozen=True, slots=True)
class ViewTestResult:
    """What a test found.

    Attributes:
        database: postgres or clickhouse.
        view: Name of the view.
        test: The test, as its header says it.
        failures: Rows (for `unique`: keys) that break it; 0 when it passed.
        place: File and line of the test.
        examples: The first of them, by their keys.
        not_compared: Why such an agreement says nothing for now; empty else. It is no failure.
    """

    database: Database
    view: str
    test: str
    failures: int
    place: str = ""
    examples: tuple[str, ...] = ()
    not_compared: str = ""

    @property
    def passed(self) -> bool:
        """Whether no row breaks the test."""
        return self.failures == 0


def quoted(database: Database, name: str) -> str:
    """Return a name as an identifier of a database."""
    quote = '"' if database == "postgres" else "`"
    return f"{quote}{name}{quote}"


def failures_statement(
    database: Database,
    test: ViewTest,
    address: str,
    address_of: Callable[[str], str],
    *,
    shown: Sequence[str] = (),
) -> str:
    """Return a statement that counts what breaks a test, or shows the first of it.

    Args:
        database: Whose SQL.
        test: The test; its names were matched against identifiers, its expression is the project's own SQL.
        address: Of the view or its build, quoted.
        address_of: Gives the same for another view or table by name.
        shown: Columns to show as texts, those of the test where it is `unique`; counts when empty.
    """
    failing = _failing_rows(database, test, address, address_of)
    if not shown:
        return f"select count(*) {failing}"
    texts = ", ".join(_AS_TEXT[database].format(column=quoted(database, name)) for name in shown)
    return f"select {texts} {failing} limit {EXAMPLES_SHOWN}"


def _failing_rows(database: Database, test: ViewTest, address: str, address_of: Callable[[str], str]) -> str:
    def column(name: str) -> str:
        return quoted(database, name)

    rows = f"from {address}"
    match test.kind:
        case "unique":
            columns = ", ".join(column(name) for name in test.columns)
            # A subquery with a name, as both databases want one.
            keys = f"select {columns} {rows} group by {columns} having count(*) > 1"
            return f"from ({keys}) as repeated"
        case "not_null":
            return f"{rows} where {column(test.columns[0])} is null"
        case "accepted_values":
            first = column(test.columns[0])
            wrong = _NOT_ACCEPTED[database].format(column=first)
            return f"{rows} where {first} is not null and {wrong}"
        case "relationships":
            first = column(test.columns[0])
            known = f"select {column(test.other_column)} from {address_of(test.other_view)}"  # noqa: S608 - the same
            return f"{rows} where {first} is not null and {first} not in ({known})"
        case _:
            return f"{rows} where not ({test.expression})"
