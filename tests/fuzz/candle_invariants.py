"""What holds for every candle file whatever its bytes are."""

from pathlib import Path

import numpy as np

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candle_files import CandleFile, read_candle_file
from quantbot_pipeline.ingest.candle_streams import iterate_candles
from quantbot_pipeline.ingest.candles.options import CandleReadOptions
from quantbot_pipeline.ingest.checked_candles import CheckedCandles


def check_candle_file(path: Path, options: CandleReadOptions) -> CandleFile | None:
    """Read a file whole and in pieces; None if it is refused as a whole, which both ways then do."""
    try:
        pieces = list(iterate_candles(path, options=options))
    except DataError as refusal:
        _check_text(str(refusal))
        return None
    for piece in pieces:
        check_piece(piece)
    file = read_candle_file(
        path,
        chain=options.chain,
        token=options.token,
        interval=options.interval,
        timezone=options.timezone,
        now=options.now,
        wick_limit=options.wick_limit,
    )
    assert file.rows_read == sum(piece.rows_read for piece in pieces)
    assert file.rows_read == file.candles.num_rows + file.duplicates + file.conflicts + len(file.quarantined)
    keys = file.candles.select(["chain", "token_address", "interval", "timestamp"]).to_pylist()
    assert len({tuple(key.values()) for key in keys}) == len(keys)
    return file


def check_piece(piece: CheckedCandles) -> None:
    """Hold some rows to the rules of a valid candle, and their counts to their sum."""
    count = len(piece.timestamp)
    assert piece.rows_read == count + piece.duplicates + piece.conflicts + len(piece.quarantined)
    opens, highs, lows, closes, volumes = (piece.values[name] for name in ("open", "high", "low", "close", "volume"))
    assert np.isfinite(np.concatenate([opens, highs, lows, closes, volumes])).all()
    assert ((lows > 0) & (lows <= np.minimum(opens, closes)) & (highs >= np.maximum(opens, closes))).all()
    assert (volumes >= 0).all()
    steps = np.array([INTERVAL_SECONDS[interval] for _, interval in piece.series], dtype=np.int64)
    if count:
        assert (piece.timestamp % steps[piece.series_of_row] == 0).all()
        assert (np.diff(piece.series_of_row) >= 0).all()
    table = piece.candles
    assert table.num_rows == count
    assert len(piece.flags) == count
    for row in piece.quarantined:
        _check_text(row.reason)
        row.raw_text.encode()
        assert len(row.raw_text) <= 2000
    for note in piece.notes:
        _check_text(note)


def _check_text(text: str) -> None:
    text.encode()
    assert "\x00" not in text
    assert len(text) < 3000, text[:500]
