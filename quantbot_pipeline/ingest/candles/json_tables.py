"""Rows of JSON files: one list of rows, an API's answer around one, or a row per line (JSON Lines).

A row is a list `[time, open, high, low, close, volume]` or an object with named values. A list is read element by
element, so a file of any length takes the memory of a piece of it; an answer is held whole and is bounded. What is
outside the rows must be right: a file that is cut off, or no JSON between its rows, is refused whole.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candles.columns import ColumnPlan, plan_columns
from quantbot_pipeline.ingest.candles.rows import CandleRows
from quantbot_pipeline.ingest.candles.text_blocks import MAX_LINE_BYTES, open_bytes, read_blocks, read_more, too_long
from quantbot_pipeline.ingest.quarantine import RAW_TEXT_LIMIT, QuarantinedRow, shown, storable_text
from quantbot_pipeline.ingest.source_files import object_of_pairs

MAX_ANSWER_BYTES = 64 * 2**20
"""Largest JSON object that is read: an API's answer holds 1 000 candles. Lists may be of any size."""

MAX_NESTING = 500
"""Deepest nesting of a row that is passed over; a candle has one level."""

_ANSWER_PATHS = (
    ("data", "attributes", "ohlcv_list"),
    ("data", "items"),
    ("ohlcv_list",),
    ("items",),
    ("candles",),
    ("data",),
)
_LIST_NAMES = ("timestamp", "open", "high", "low", "close", "volume")
# GeckoTerminal states its volumes in USD.
_USD_LIST_NAMES = (*_LIST_NAMES[:-1], "volume_usd")
_BLANK = b" \t\r\n"
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_PLAIN = rb'[^\[\]{}"]++|' + _STRING
_FLAT = rb"[\[{](?:" + _PLAIN + rb")*+[\]}]"
_NESTED = rb"[\[{](?:" + _PLAIN + rb"|" + _FLAT + rb")*+[\]}]"
# A value that is nested three levels deep at most, and what follows it; anything else takes the slow way.
_ROW = re.compile(
    rb"[ \t\r\n]*+([\[{](?:" + _PLAIN + rb"|" + _NESTED + rb")*+[\]}]|" + _STRING + rb'|[^\[\]{}",\s]++)'
    rb"[ \t\r\n]*+([,\]])",
    re.DOTALL,
)
_BRACKET_OR_STRING = re.compile(rb'[\[\]{}"]')
_SCALAR = re.compile(rb'[^\[\]{}",\s]*+')
_PIECE_BYTES = 2**20
_PIECE_ROWS = 2**16
_MOST_PLANS = 1000


class _Element(NamedTuple):
    """One row's text: its number or line, and why it can't be used."""

    line: int
    text: bytes
    problem: str | None


def read_json_rows(path: Path, block_bytes: int) -> Iterator[CandleRows]:
    """Yield the rows of a JSON file, some at a time; of one without rows, none of them once.

    Raises:
        DataError: the file can't be read, is no JSON, or its rows are no candles.
    """
    name = storable_text(str(path))
    rows = _RowMaker(name)
    with open_bytes(path) as stream:
        text = _without_blanks(path, stream)
        if not text:
            raise DataError(f"{name}: the file holds no JSON, only blanks")
        if text.startswith(b"["):
            pieces = _list_elements(_Reader(path, stream, name, text, position=1))
        elif text.startswith(b"{"):
            text += read_more(path, stream, MAX_ANSWER_BYTES + 1 - len(text))
            if _is_json_lines(text):
                yield from read_json_line_rows(path, block_bytes)
                return
            if len(text) > MAX_ANSWER_BYTES:
                raise DataError(
                    f"{name}: the file is one JSON object of more than {MAX_ANSWER_BYTES // 2**20} MiB; lists of rows "
                    "and JSON Lines may have any size"
                )
            pieces = _answer_elements(name, text, rows)
        else:
            start = shown(text[:40].decode("utf-8", "backslashreplace"))
            raise DataError(f"{name}: the file is no JSON list or object: it starts with {start}")
        is_empty = True
        for elements in pieces:
            if elements:
                is_empty = False
                yield rows.of(elements)
        if is_empty:
            yield rows.of([])


def read_json_line_rows(path: Path, block_bytes: int) -> Iterator[CandleRows]:
    """Yield the rows of a JSON Lines file, some at a time; blank lines are none.

    Raises:
        DataError: the file can't be read, or its rows are no candles.
    """
    name = storable_text(str(path))
    rows = _RowMaker(name)
    is_empty = True
    with open_bytes(path) as stream:
        for block in read_blocks(path, stream, min(block_bytes, _PIECE_BYTES)):
            if block.long_line:
                elements = [_Element(block.lines_before + 1, block.content, too_long(block.long_line))]
            else:
                content = block.content.removeprefix(b"\xef\xbb\xbf") if block.lines_before == 0 else block.content
                lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
                elements = [
                    _Element(block.lines_before + number, line, None)
                    for number, line in enumerate(lines, start=1)
                    if line.strip()
                ]
            if elements:
                is_empty = False
                yield rows.of(elements)
    if is_empty:
        yield rows.of([])


def _without_blanks(path: Path, stream: BinaryIO) -> bytes:
    text = read_more(path, stream, MAX_LINE_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK)
    while not text:
        more = read_more(path, stream, MAX_LINE_BYTES)
        if not more:
            return b""
        text = more.lstrip(_BLANK)
    return text


def _is_json_lines(text: bytes) -> bool:
    """Return whether the first line is a whole object and another one follows."""
    first, _, rest = text.partition(b"\n")
    if not rest.lstrip(_BLANK).startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _answer_elements(name: str, text: bytes, rows: "_RowMaker") -> Iterator[list[_Element]]:
    try:
        document = json.loads(text)
    except RecursionError:
        raise DataError(f"{name}: the JSON is nested too deeply for an answer with candles") from None
    except ValueError as error:
        raise DataError(f"{name}: the file is refused whole, it is no JSON: {error}") from None
    for keys in _ANSWER_PATHS:
        found: Any = document
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, list):
            try:
                texts = [json.dumps(row).encode() for row in found]
            except RecursionError:
                raise DataError(f"{name}: the JSON is nested too deeply for an answer with candles") from None
            if keys[-1] == "ohlcv_list":
                rows.list_names = _USD_LIST_NAMES
            yield [_Element(number, row, None) for number, row in enumerate(texts, start=1)]
            return
    found_fields = plan_columns(list(document)[:100], file=name).positions.keys()
    if found_fields >= set(_LIST_NAMES[:-1]) and found_fields & {"volume", "quote_volume"}:
        yield [_Element(1, text, None)]
        return
    names = ", ".join(shown(key) for key in list(document)[:10]) or "nothing"
    raise DataError(
        f"{name}: the JSON object holds no list of candles; looked for "
        f"{', '.join('.'.join(keys) for keys in _ANSWER_PATHS)}; found are {names}"
    )


@dataclass
class _Reader:
    """Text of a file from a position on; more is read as it is needed, and what was passed is let go."""

    path: Path
    stream: BinaryIO
    name: str
    text: bytes
    position: int = 0
    bytes_before: int = 0
    rows: int = 0

    def grow(self) -> bool:
        more = read_more(self.path, self.stream, _PIECE_BYTES)
        self.bytes_before += self.position
        self.text = self.text[self.position :] + more
        self.position = 0
        return bool(more)

    def refusal(self, what: str) -> DataError:
        place = self.bytes_before + self.position
        return DataError(f"{self.name}: the file is refused whole: {what}, at byte {place} after row {self.rows}")

    def cut_off(self) -> DataError:
        return self.refusal("it is cut off: it ends before its last bracket")

    def skip_blanks(self) -> None:
        while True:
            rest = self.text[self.position : self.position + 1]
            if rest and rest not in _BLANK:
                return
            if rest:
                self.position = _not_blank(self.text, self.position)
            elif not self.grow():
                return

    def next_sign(self) -> bytes:
        return self.text[self.position : self.position + 1]


_BLANKS = re.compile(rb"[ \t\r\n]*+")


def _not_blank(text: bytes, position: int) -> int:
    found = _BLANKS.match(text, position)
    return found.end() if found is not None else position


def _list_elements(reader: _Reader) -> Iterator[list[_Element]]:
    """Yield the elements of a list whose first bracket was passed, some at a time."""
    elements: list[_Element] = []
    while True:
        found = _ROW.match(reader.text, reader.position)
        if found is not None:
            text, sign = found[1], found[2]
            problem = too_long(len(text)) if len(text) > MAX_LINE_BYTES else None
            reader.position = found.end()
        else:
            if len(reader.text) - reader.position <= MAX_LINE_BYTES:
                if elements:
                    yield elements
                    elements = []
                if reader.grow():
                    continue
            reader.skip_blanks()
            if reader.rows == 0 and reader.next_sign() == b"]":
                reader.position += 1
                break
            text, problem, sign = _odd_element(reader)
        reader.rows += 1
        elements.append(_Element(reader.rows, text, problem))
        if sign == b"]":
            break
        if len(elements) >= _PIECE_ROWS:
            yield elements
            elements = []
    if elements:
        yield elements
    reader.skip_blanks()
    if reader.next_sign():
        raise reader.refusal("something follows its list")


def _odd_element(reader: _Reader) -> tuple[bytes, str, bytes]:
    """Return the beginning of an element of any form, why it is no row, and the sign after it.

    Raises:
        DataError: the file ends within it, or no comma or bracket follows it.
    """
    beginning = reader.text[reader.position : reader.position + RAW_TEXT_LIMIT]
    start = reader.bytes_before + reader.position
    sign = reader.next_sign()
    if not sign:
        raise reader.cut_off()
    if sign in (b"[", b"{"):
        _skip_nested(reader)
    elif sign == b'"':
        reader.position += 1
        _skip_string(reader)
    elif sign in (b",", b"]", b"}"):
        raise reader.refusal(f"{sign.decode()!r} where a row should be")
    else:
        _skip_scalar(reader)
    length = reader.bytes_before + reader.position - start
    reader.skip_blanks()
    sign = reader.next_sign()
    if not sign:
        raise reader.cut_off()
    if sign not in (b",", b"]"):
        shown_sign = sign.decode("latin-1")
        raise reader.refusal(f"{shown_sign!r} where a comma or the end of the list should be")
    reader.position += 1
    problem = too_long(length) if length > MAX_LINE_BYTES else "the row is nested too deeply for a candle"
    return beginning[:length], problem, sign


def _skip_scalar(reader: _Reader) -> None:
    while True:
        found = _SCALAR.match(reader.text, reader.position)
        reader.position = found.end() if found is not None else reader.position
        if reader.position < len(reader.text) or not reader.grow():
            return


def _skip_string(reader: _Reader) -> None:
    """Pass a string whose first quotation mark was passed."""
    while True:
        text, position = reader.text, reader.position
        quote = text.find(b'"', position)
        while True:
            end = len(text) if quote < 0 else quote
            escape = text.find(b"\\", position, end)
            if escape < 0:
                position = end
                break
            position = escape + 2
            if position > end >= 0:
                # The escape takes the quotation mark, or a sign that is not read yet.
                if quote < 0:
                    position = escape
                    break
                quote = text.find(b'"', position)
        reader.position = position
        if quote >= 0:
            reader.position += 1
            return
        if not reader.grow():
            raise reader.cut_off()


def _skip_nested(reader: _Reader) -> None:
    """Pass a list or object with all that is in it."""
    depth = 0
    while True:
        found = _BRACKET_OR_STRING.search(reader.text, reader.position)
        if found is None:
            reader.position = len(reader.text)
            if not reader.grow():
                raise reader.cut_off()
            continue
        reader.position = found.end()
        if found[0] == b'"':
            _skip_string(reader)
            continue
        depth += 1 if found[0] in (b"[", b"{") else -1
        if depth == 0:
            return
        if depth > MAX_NESTING:
            raise reader.refusal(f"it is nested more than {MAX_NESTING} levels deep")


class _RowMaker:
    """Makes rows of the texts of elements."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._plans: dict[tuple[str, ...], ColumnPlan] = {}
        self._is_first = True
        self.list_names = _LIST_NAMES
        """What the values of a row are that is a list."""

    def of(self, elements: Sequence[_Element]) -> CandleRows:
        """Return the rows of some elements.

        Raises:
            DataError: they are the first of the file and none of them is a candle.
        """
        lines: list[int] = []
        values: list[Any] = []
        texts: list[bytes] = []
        broken: list[QuarantinedRow] = []
        for element, value, problem in zip(elements, *_parse(elements), strict=True):
            problem = problem or self._shape_problem(value)
            if problem is not None:
                text = storable_text(element.text[: 4 * RAW_TEXT_LIMIT].decode("utf-8", "surrogateescape"))
                broken.append(QuarantinedRow(self._name, element.line, None, problem, text))
                continue
            lines.append(element.line)
            values.append(value)
            texts.append(element.text)
        if self._is_first and elements and not values:
            self._refuse_no_candles(broken)
        if elements:
            self._is_first = False
        columns, times, found_names, has_symbols = self._columns(values)
        return CandleRows(
            file=self._name,
            found_names=found_names,
            row_count=len(values),
            columns=columns,
            line_of=lambda row: lines[row],
            raw_texts_of=lambda rows: [
                storable_text(texts[row][: 4 * RAW_TEXT_LIMIT].decode("utf-8", "surrogateescape")) for row in rows
            ],
            broken=tuple(broken),
            other_times=times,
            has_symbols=has_symbols,
        )

    def _shape_problem(self, value: Any) -> str | None:
        if isinstance(value, list):
            if len(value) == len(_LIST_NAMES):
                return None
            return (
                f"the row is a list of {len(value)} values; a candle is [time, open, high, low, close, volume], "
                "6 values"
            )
        if isinstance(value, Mapping):
            try:
                self._plan(tuple(value))
            except DataError as error:
                return str(error).removeprefix(f"{self._name}: ")
            return None
        return f"the row is {_kind(value)}; a list of 6 values or an object is allowed"

    def _refuse_no_candles(self, broken: Sequence[QuarantinedRow]) -> None:
        """Refuse a file whose first rows are none of them candles.

        Raises:
            DataError: so it is.
        """
        reasons = Counter(row.reason for row in broken)
        reason, count = reasons.most_common(1)[0]
        example = shown(broken[0].raw_text)
        what = "these are no candles"
        if any(side in row.raw_text for row in broken[:10] for side in ('"buy"', '"sell"')):
            what = "these are trades, not candles: make candles of them first"
        raise DataError(f"{self._name}: {what}; {count} of the first {len(broken)} rows: {reason}; found is {example}")

    def _plan(self, names: tuple[str, ...]) -> ColumnPlan:
        plan = self._plans.get(names)
        if plan is None:
            plan = plan_columns(names, file=self._name)
            if len(self._plans) < _MOST_PLANS:
                self._plans[names] = plan
        return plan

    def _columns(
        self, values: list[Any]
    ) -> tuple[dict[str, pa.Array], tuple[tuple[str, pa.Array], ...], tuple[str, ...], bool]:
        if not values or all(isinstance(value, list) for value in values):
            cells: Sequence[Sequence[Any]] = list(zip(*values, strict=True)) if values else [()] * len(self.list_names)
            fields = self._plan(self.list_names).positions
            named = {name: _column(cell) for name, cell in zip(fields, cells, strict=True)}
            return named, (), self.list_names, False
        first = next(value for value in values if not isinstance(value, list))
        shapes = {self.list_names if isinstance(value, list) else tuple(value) for value in values}
        plans = [self._plan(shape) for shape in shapes]
        field_names = list(dict.fromkeys(field for plan in plans for field in plan.positions))
        time_names = list(dict.fromkeys(plan.names[position] for plan in plans for position in plan.other_times))
        plan = self._plan(tuple(first))
        if len(plans) == 1:
            key_of = {field: plan.names[position] for field, position in plan.positions.items()}
            named = {field: _column([value[key] for value in values]) for field, key in key_of.items()}
            times = tuple((key, _column([value[key] for value in values])) for key in time_names)
            return named, times, plan.names, plan.has_symbols
        rows: list[dict[str, Any]] = []
        for value in values:
            mapping = dict(zip(self.list_names, value, strict=True)) if isinstance(value, list) else value
            own = self._plan(tuple(mapping))
            row = {field: mapping[own.names[position]] for field, position in own.positions.items()}
            row |= {f"time {own.names[position]}": mapping[own.names[position]] for position in own.other_times}
            rows.append(row)
        named = {field: _column([row.get(field) for row in rows]) for field in field_names}
        times = tuple((key, _column([row.get(f"time {key}") for row in rows])) for key in time_names)
        found_names = tuple(dict.fromkeys(name for plan in plans for name in plan.names))
        return named, times, found_names, all(plan.has_symbols for plan in plans)


def _parse(elements: Sequence[_Element]) -> tuple[list[Any], list[str | None]]:
    """Return the values of texts, and why a text has none."""
    if all(element.problem is None for element in elements):
        try:
            values = _loads(b"[" + b",".join([element.text for element in elements]) + b"]")
        except (ValueError, RecursionError):
            values = []
        if len(values) == len(elements):
            return values, [None] * len(values)
    values, problems = [], []
    for element in elements:
        value, problem = None, element.problem
        if problem is None:
            try:
                value = _loads(element.text)
            except RecursionError:
                problem = "the JSON is nested too deeply"
            except UnicodeDecodeError:
                problem = "the row holds bytes that are not UTF-8"
            except ValueError as error:
                problem = f"the row is not JSON: {error}"
        values.append(value)
        problems.append(problem)
    return values, problems


def _loads(text: bytes) -> Any:
    return json.loads(text.decode("utf-8"), object_pairs_hook=object_of_pairs)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {bool: "true or false", str: "a text", int: "a number", float: "a number"}.get(type(value), "something else")


def _column(cells: Sequence[Any]) -> pa.Array:
    """Return cells as numbers if all of them are, else as texts, each as it is written."""
    kinds = set(map(type, cells))
    if kinds <= {int, type(None)}:
        try:
            return pa.array(cells, type=pa.int64())
        except (pa.ArrowException, OverflowError):
            pass
    elif kinds <= {int, float, type(None)}:
        try:
            return pa.array(cells, type=pa.float64())
        except (pa.ArrowException, OverflowError):
            pass
    return pa.array([_text(cell) for cell in cells], type=pa.string())


def _text(cell: Any) -> str | None:
    if cell is None:
        return None
    return storable_text(cell if isinstance(cell, str) else json.dumps(cell))
