"""Rows of JSON files: objects, one per line or in one list."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alerts.columns import ColumnPlan, plan_columns
from quantbot_pipeline.ingest.alerts.records import RowRefusal
from quantbot_pipeline.ingest.alerts.table_rows import Cell, TableRow, json_kind, no_token_columns
from quantbot_pipeline.ingest.alerts.text_source import TextSource, bounded_lines
from quantbot_pipeline.ingest.source_files import has_undecodable_bytes, object_of_pairs

_MOST_PLANS = 1000


class JsonRows:
    """Makes rows of JSON objects; objects with the same names share one plan."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self._mapping = mapping
        self._plans: dict[tuple[str, ...], ColumnPlan] = {}

    def row(self, line: int, text: str) -> TableRow:
        """Return the row of one object's text."""
        try:
            raw = json_object(text)
            plan = self._plan(tuple(raw))
        except RowRefusal as refusal:
            return TableRow(line, text, {}, {}, refusal.reason)
        values = list(raw.values())
        cells = {
            field: tuple(Cell(plan.names[position].strip(), values[position]) for position in positions)
            for field, positions in plan.positions.items()
        }
        no_token = None if plan.names_tokens else no_token_columns(plan.names)
        return TableRow(line, text, cells, raw, None, no_token)

    def _plan(self, names: tuple[str, ...]) -> ColumnPlan:
        plan = self._plans.get(names)
        if plan is None:
            try:
                plan = plan_columns(names, self._mapping, file="the row")
            except DataError as error:
                raise RowRefusal(None, str(error).replace("the row: column", "field")) from None
            if len(self._plans) < _MOST_PLANS:
                self._plans[names] = plan
        return plan


def read_json_lines(source: TextSource, mapping: Mapping[str, str]) -> Iterator[TableRow]:
    """Yield the rows of a JSON Lines file; blank lines are none."""
    rows = JsonRows(mapping)
    for number, line in enumerate(bounded_lines(source), start=1):
        text = line.text.strip()
        if not text:
            continue
        yield rows.row(number, text) if line.problem is None else TableRow(number, text, {}, {}, line.problem)


def json_object(text: str) -> dict[str, Any]:
    """Return the object that a text is as JSON.

    Raises:
        RowRefusal: it is no JSON, no object, names something twice, or holds bytes that are no UTF-8.
    """
    if has_undecodable_bytes(text):
        raise RowRefusal(None, "the row holds bytes that are not UTF-8")
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=object_of_pairs)
    except RecursionError:
        raise RowRefusal(None, "the JSON is nested too deeply") from None
    except ValueError as error:
        raise RowRefusal(None, f"the line is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise RowRefusal(None, f"the line holds {json_kind(value)}; a JSON object is allowed")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value; write null for a number that is not known")
