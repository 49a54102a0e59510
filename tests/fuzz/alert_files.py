"""Fuzz the message parser and the readers of alert files: `python -m tests.fuzz.alert_files --seconds 600`.

The first byte of an input chooses the kind of file, the rest is its content. What fails is written to the current
folder as `crash-…`; make a test of it.
"""

import argparse
import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["quantbot_pipeline.ingest"]):
    from quantbot_pipeline.errors import DataError
    from quantbot_pipeline.ingest.alert_files import read_alert_file

KINDS = (".csv", ".jsonl", ".json", ".html", ".csv.gz", ".json.gz")
MINT = "FRFnJw7CpAjvV7xHbCxLsTCBach5DKkoCRxnPb89bonk"
EVM = "0x6979420908dd937df18c845a98939ed58e28b053"
TEXTS = (
    f"{MINT}watching",
    f"Aped {EVM} on Base, FDV: $3.2M",
    f"https://dexscreener.com/solana/{MINT} and https://pump.fun/{MINT}",
    f"/pnl {MINT}",
    f"dont buy {EVM}\nsell {MINT} 71.75K",
)


def seeds() -> list[bytes]:
    """Return small files of every kind, each after the byte that chooses it."""
    header = "sender,mint,ticker,mcap_at_alert,alert_ts_ms,alert_datetime,chain,message,message_id"
    rows = [
        f'anna,{MINT},X,3.2,1765802562000,2025-12-15 23:42:42+11,SOL,"{text}",{number}'
        for number, text in enumerate(TEXTS)
    ]
    table = "\n".join([header, *rows]).encode()
    records = [
        {"caller": "a", "token_address": EVM, "timestamp": 1765802562, "message": text, "chain": None} for text in TEXTS
    ]
    messages: list[dict[str, Any]] = [
        {
            "id": number,
            "type": "message",
            "date": "2025-12-15T23:42:42",
            "date_unixtime": "1765802562",
            "from": "Anna",
            "from_id": "user1",
            "reply_to_message_id": number - 1,
            "text": [text, {"type": "code", "text": MINT}],
        }
        for number, text in enumerate(TEXTS, start=1)
    ]
    chat = {"name": "Calls", "type": "private_supergroup", "id": 1900000001, "messages": messages}
    page = '<div class="history">' + "".join(
        f'<div class="message default clearfix" id="message{number}"><div class="body">'
        '<div class="pull_right date details" title="11.12.2025 18:48:28 UTC+11:00">18:48</div>'
        f'<div class="from_name">Anna</div><div class="text">{text}<br><code>{MINT}</code></div></div></div>'
        for number, text in enumerate(TEXTS, start=1)
    )
    contents = [
        (0, table),
        (1, "\n".join(map(json.dumps, records)).encode()),
        (2, json.dumps(chat).encode()),
        (2, json.dumps({"chats": {"list": [chat]}}).encode()),
        (2, json.dumps(records).encode()),
        (3, page.encode()),
        (4, gzip.compress(table)),
        (5, gzip.compress(json.dumps(chat).encode())),
    ]
    return [bytes([kind]) + content for kind, content in contents]


def check_alert_file(path: Path) -> None:
    """Read a file; refuse to lose a row, or to end in anything but a refusal."""
    try:
        file = read_alert_file(path, timezone="UTC", chat="1")
    except DataError:
        return
    assert file.rows_read == len(file.alerts) + file.duplicates + len(file.quarantined)
    assert len({alert.content_key for alert in file.alerts}) == len(file.alerts)


def main() -> None:
    """Run for so many seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, help="folder of inputs to start from and to add to")
    arguments = parser.parse_args()
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
            check_alert_file(file)

        limits = [f"-max_total_time={arguments.seconds}", "-timeout=20", "-rss_limit_mb=4096", "-max_len=20000"]
        atheris.Setup([sys.argv[0], str(corpus), *limits], read_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
