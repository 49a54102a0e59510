"""Whatever a candle file holds: no crash, no row lost, and the same candles however they are written down."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantbot_pipeline.ingest import candle_streams
from quantbot_pipeline.ingest.candle_files import CandleFile, read_candle_file
from quantbot_pipeline.ingest.candle_streams import iterate_candles
from quantbot_pipeline.ingest.candles.options import CandleReadOptions
from quantbot_pipeline.ingest.checked_candles import merged
from tests.fuzz.candle_invariants import check_candle_file

T0 = 1735689600
SAID: dict[str, Any] = {"chain": "binance", "token": "BTC_USDT"}
OPTIONS = CandleReadOptions(**SAID, timezone="UTC", wick_limit=3.0)
NAMES = ("timestamp", "open", "high", "low", "close", "volume")
KINDS = (".csv", ".json", ".jsonl", ".csv.gz", ".json.gz", ".parquet", ".feather")
quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

NUMBERS = st.one_of(st.sampled_from([0, 1, 1.5, 2, 0.5, -1, T0, T0 * 1000, 1e308, 1e-300]), st.floats(), st.integers())
CELLS = st.one_of(
    NUMBERS,
    st.none(),
    st.booleans(),
    st.sampled_from(
        [
            "",
            "NaN",
            "null",
            "1e5",
            "+1",
            "0x10",
            "15:00.0",
            "2025-01-01T00:00:00Z",
            "2025-01-01",
            "solana_x",
            "5m",
            "1M",
        ]
    ),
    st.text(max_size=12),
)
VALUES = st.recursive(
    CELLS,
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
COLUMNS = st.lists(
    st.sampled_from(
        [
            *NAMES,
            *NAMES,
            "Date",
            "t",
            "o",
            "h",
            "l",
            "c",
            "v",
            "pool_id",
            "symbol",
            "chain",
            "type",
            "timeframe",
            "x",
            "",
        ]
    ),
    max_size=12,
)


def good_rows(steps: list[int], interval: int) -> list[tuple[float, ...]]:
    return [(T0 + interval * step, 1.0 + step % 7, 9.0, 0.25, 2.0 + step % 5, float(step % 3)) for step in steps]


@quick
@given(st.sampled_from(KINDS), st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / f"a{kind}"
    path.write_bytes(gzip.compress(content) if kind.endswith(".gz") else content)
    check_candle_file(path, OPTIONS)


@quick
@given(st.lists(VALUES, max_size=8), st.sampled_from([".json", ".jsonl"]))
def test_no_row_of_json_is_lost(tmp_path: Path, rows: list[Any], kind: str) -> None:
    # A good row first, so that the file is one of candles.
    rows = [[T0, 1, 2, 0.5, 1.5, 1], *rows]
    text = json.dumps(rows) if kind == ".json" else "\n".join(json.dumps(row) for row in rows)
    path = tmp_path / f"a{kind}"
    path.write_text(text, encoding="utf-8")
    file = check_candle_file(path, CandleReadOptions(**SAID, interval="5m"))
    assert file is None or file.rows_read == len(rows)


@quick
@given(COLUMNS, st.lists(st.lists(CELLS, min_size=12, max_size=12), max_size=6))
def test_no_row_of_a_table_is_lost(tmp_path: Path, columns: list[str], rows: list[list[Any]]) -> None:
    names = [*NAMES, *(name for name in columns if name.casefold() not in NAMES[1:])]
    body = [[T0, 1, 2, 0.5, 1.5, 1, *row[: len(names) - 6]] for row in rows]
    body += [[*row[:6], *row[: len(names) - 6]] for row in rows]

    def quoted(cell: Any) -> str:
        return '"' + str(cell).replace('"', '""') + '"'

    text = "\n".join(",".join(map(quoted, row)) for row in [names, *body])
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    file = check_candle_file(tmp_path / "a.csv", OPTIONS)
    assert file is None or file.rows_read >= len(body)
    records = [dict(zip(names, map(str, row), strict=False)) for row in body]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    file = check_candle_file(tmp_path / "a.jsonl", OPTIONS)
    assert file is None or file.rows_read == len(body)


@quick
@given(
    st.lists(st.integers(0, 400), min_size=40, max_size=80, unique=True),
    st.sampled_from([60, 300, 3600]),
    st.randoms(use_true_random=False),
)
def test_order_of_rows_and_columns_and_case_change_nothing(
    tmp_path: Path, steps: list[int], interval: int, randomness: Any
) -> None:
    # Dense enough to tell the interval: a run of neighbours and whatever was drawn.
    steps = sorted({*range(30), *steps})
    rows = good_rows(steps, interval)
    expected = _read_csv(tmp_path, NAMES, rows)
    assert expected.candles.num_rows == len(steps)
    order = list(range(len(NAMES)))
    randomness.shuffle(order)
    randomness.shuffle(rows)
    names = [NAMES[place].upper() if randomness.random() < 0.5 else NAMES[place].title() for place in order]
    other = _read_csv(tmp_path, names, [tuple(row[place] for place in order) for row in rows])
    assert other.candles.equals(expected.candles)


def _read_csv(tmp_path: Path, names: Any, rows: list[tuple[float, ...]]) -> CandleFile:
    path = tmp_path / "a.csv"
    path.write_text("\n".join([",".join(names), *(",".join(map(repr, row)) for row in rows)]))
    return read_candle_file(path, **SAID)


@quick
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([1.0, 2.0, -1.0])), min_size=1, max_size=60))
def test_every_format_gives_the_same_table(tmp_path: Path, drawn: list[tuple[int, float]]) -> None:
    rows = [(T0 + 300 * step, 1.5, 3.0, 1.0, 2.0, volume) for step, volume in drawn]
    table = pa.table({name: [row[place] for row in rows] for place, name in enumerate(NAMES)})
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    feather.write_feather(table, arrow)
    records = [dict(zip(NAMES, row, strict=True)) for row in rows]
    contents = {
        "a.parquet": parquet.getvalue(),
        "a.feather": arrow.getvalue(),
        "a.csv": "\n".join([",".join(NAMES), *(",".join(map(repr, row)) for row in rows)]).encode(),
        "a.json": json.dumps(rows).encode(),
        "b.json": json.dumps(records).encode(),
        "a.jsonl": "\n".join(map(json.dumps, records)).encode(),
    }
    found = []
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        found.append(read_candle_file(tmp_path / name, **SAID, interval="5m"))
    for file in found:
        assert file.candles.equals(found[0].candles)
        assert (file.rows_read, file.duplicates, file.conflicts) == (len(rows), found[0].duplicates, found[0].conflicts)


@quick
@given(
    st.lists(st.tuples(st.integers(0, 120), st.sampled_from(["1", "2", "-1", "NaN", "x"])), min_size=30, max_size=90),
    st.integers(150, 900),
    st.booleans(),
)
def test_tiny_pieces_give_what_the_whole_file_gives(
    tmp_path: Path, drawn: list[tuple[int, str]], block: int, has_interval: bool
) -> None:
    suffix = ",5m" if has_interval else ""
    lines = [f"{T0 + 300 * step},1.5,3,1,2,{volume}{suffix}" for step, volume in drawn]
    path = tmp_path / "a.csv"
    path.write_text("\n".join([",".join(NAMES) + (",interval" if has_interval else ""), *lines]))
    whole = read_candle_file(path, **SAID)
    before = candle_streams.BYTES_PER_BATCH
    candle_streams.BYTES_PER_BATCH = block
    try:
        pieces = list(iterate_candles(path, options=CandleReadOptions(**SAID)))
    finally:
        candle_streams.BYTES_PER_BATCH = before
    together = merged(pieces)
    assert together.candles.equals(whole.candles)
    assert together.quarantined == whole.quarantined
    assert together.duplicates + together.conflicts == whole.duplicates + whole.conflicts
