"""Fuzz the readers of candle files: `python -m tests.fuzz.candle_files --seconds 600`.

The first byte of an input chooses the kind of file, the rest is its content. What fails is written to the current
folder as `crash-…`; make a test of it.
"""

import argparse
import gzip
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["quantbot_pipeline.ingest"]):
    from quantbot_pipeline.ingest import candle_streams
    from quantbot_pipeline.ingest.candles.options import CandleReadOptions
    from tests.fuzz.candle_invariants import check_candle_file

KINDS = (".csv", ".json", ".jsonl", ".csv.gz", ".json.gz", ".parquet", ".feather")
START = 1735689600
_SAID: dict[str, Any] = {"chain": "binance", "token": "BTC_USDT"}
OPTIONS = (
    CandleReadOptions(**_SAID, timezone="UTC", wick_limit=3.0),
    CandleReadOptions(),
    CandleReadOptions(**_SAID, interval="5m"),
)


def seeds() -> list[bytes]:
    """Return small good files of every kind, each after the byte that chooses it."""
    import pyarrow as pa
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    rows = [[START + 300 * step, 1.0, 2.0, 0.5, 1.5, 10.0] for step in range(8)]
    names = ("timestamp", "open", "high", "low", "close", "volume")
    records = [dict(zip(names, row, strict=True)) for row in rows]
    full = [record | {"chain": "binance", "token_address": "BTC_USDT", "interval": "5m"} for record in records]
    lines = [",".join(map(str, row)) for row in rows]
    csv_text = "\n".join([",".join(names), *lines]) + "\n"
    full_csv = "\n".join([",".join(full[0]), *(",".join(map(str, record.values())) for record in full)]) + "\r\n"
    dirty = (
        'id,pool_id,timeframe,timestamp,datetime,o,h,l,c,"volume_usd",datetime\n'
        '1,solana_x,5m,1755800100,15:00.0,"1",2,1,1,NaN,\n'
    )
    birdeye = {"data": {"items": [{"unixTime": START, "o": 1, "h": 1, "l": 1, "c": 1, "v": None, "type": "5m"}]}}
    table = pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)})
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    feather.write_feather(table, arrow)
    contents = [
        (0, csv_text.encode()),
        (0, full_csv.encode()),
        (0, dirty.encode()),
        (1, json.dumps(rows).encode()),
        (1, json.dumps(full).encode()),
        (1, json.dumps({"data": {"attributes": {"ohlcv_list": rows}}}).encode()),
        (1, json.dumps(birdeye).encode()),
        (1, b"[]"),
        (2, "\n".join(map(json.dumps, rows)).encode()),
        (2, "\n".join(map(json.dumps, full)).encode()),
        (3, gzip.compress(csv_text.encode())),
        (4, gzip.compress(json.dumps(rows).encode())),
        (5, parquet.getvalue()),
        (6, arrow.getvalue()),
    ]
    return [bytes([kind]) + content for kind, content in contents]


def main() -> None:
    """Run for so many seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, help="folder of inputs to start from and to add to")
    arguments = parser.parse_args()
    # Small pieces, so that small inputs reach what happens between pieces.
    candle_streams.ROWS_PER_BATCH = 3
    candle_streams.BYTES_PER_BATCH = 200
    candle_streams.ROWS_PER_WINDOW = 5
    with tempfile.TemporaryDirectory() as folder:
        corpus = arguments.corpus or Path(folder) / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds()):
            (corpus / f"seed-{number}").write_bytes(seed)
        files = [Path(folder) / f"input{kind}" for kind in KINDS]

        def read_one(content: bytes) -> None:
            if len(content) < 2:
                return
            file = files[content[0] % len(files)]
            file.write_bytes(content[1:])
            check_candle_file(file, OPTIONS[content[0] // len(files) % len(OPTIONS)])

        limits = [f"-max_total_time={arguments.seconds}", "-timeout=20", "-rss_limit_mb=4096", "-max_len=20000"]
        atheris.Setup([sys.argv[0], str(corpus), *limits], read_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
