"""Calls of files, as the engine reads them, and their ids as they are written."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.engine.arrow_columns import array_of, coded_text_column, number_column, text_column
from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.errors import DataError, InputError
from quantbot_pipeline.ingest.call_files import SCORE_COLUMN, FileCall, read_call_file
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.strategy.model import Strategy

_CALL_OF_EVENT = re.compile(r'"(exit|scale_in)_call_id":(\d+)')


class FileCalls:
    """All calls of a simulation.

    Ids that are whole numbers in every file stay numbers; else all of them are text. Their order, as numbers or as
    text, decides among calls of one second, so that the order of the rows in files never matters.

    Attributes:
        by_token: Calls as the engine reads them; tokens in sorted order.
        count: How many calls there are.
        id_type: Arrow type of the ids.
    """

    def __init__(self, calls: Sequence[FileCall]) -> None:
        """Take the calls of all files; their ids are unique."""
        self.count = len(calls)
        has_numbers = all(_is_number(call.call_id) for call in calls)
        self.id_type: Any = pa.int64() if has_numbers else pa.string()
        self._names = [] if has_numbers else sorted(call.call_id for call in calls)
        number_of = {name: number for number, name in enumerate(self._names)}
        numbers = [int(call.call_id) if has_numbers else number_of[call.call_id] for call in calls]
        callers: dict[str, int] = {}
        by_token: dict[TokenKey, list[Call]] = defaultdict(list)
        for number, call in zip(numbers, calls, strict=True):
            caller_id = callers.setdefault(call.caller, len(callers))
            known = Call(number, caller_id, call.signal_timestamp, call.signal_type, call.side)
            by_token[call.token].append(replace(known, scores=call.scores) if call.scores else known)
        self.by_token: Mapping[TokenKey, list[Call]] = {token: by_token[token] for token in sorted(by_token)}
        order = np.argsort(np.array(numbers, dtype=np.int64))
        rank = {token: position for position, token in enumerate(self.by_token)}
        self._numbers = np.array(numbers, dtype=np.int64)[order]
        self._ranks = np.array([rank[call.token] for call in calls], dtype=np.int64)[order]

    def name_events(self, events: pa.Table, strategy: str, columns: Sequence[str]) -> pa.Table:
        """Return events with what files call their calls and tokens, by (token, call id, seq).

        Args:
            events: Table of `EVENT_SCHEMA` with the engine's call ids.
            strategy: Name of the strategy.
            columns: Columns of the result.
        """
        ids = array_of(events["call_id"])
        ranks = self._ranks[np.searchsorted(self._numbers, ids)]
        order = np.lexsort((array_of(events["seq"]), ids, ranks))
        if (order[1:] < order[:-1]).any():
            events, ids, ranks = events.take(number_column(order)), ids[order], ranks[order]
        tokens = list(self.by_token)
        known = {
            "call_id": coded_text_column(ids, self._names) if self._names else number_column(ids),
            "token_address": coded_text_column(ranks, [token.address for token in tokens]),
            "chain": coded_text_column(ranks, [token.chain for token in tokens]),
            "strategy": coded_text_column(np.zeros(len(ids)), [strategy]),
            "event_time": pc.cast(events["event_time"], pa.timestamp("s", tz="UTC")),
        }
        if self._names:
            known["metadata_json"] = self._name_causes(events["metadata_json"])
        return pa.table({name: known[name] if name in known else events[name] for name in columns})

    def _name_causes(self, metadata: pa.ChunkedArray) -> Any:
        """Return metadata in which the call that caused an event has the id of its file."""

        def named(found: re.Match[str]) -> str:
            return f'"{found[1]}_call_id":{json.dumps(self._names[int(found[2])])}'

        encoded = metadata.combine_chunks().dictionary_encode()
        texts = [_CALL_OF_EVENT.sub(named, text) for text in encoded.dictionary.to_pylist()]
        return text_column(texts).take(encoded.indices)


def read_calls(files: Sequence[Path], timezone: str | None, strategies: Iterable[Strategy] = ()) -> FileCalls:
    """Read call files.

    Args:
        files: Call files.
        timezone: IANA zone of times that state none.
        strategies: What will be simulated on the calls; each file needs a column of each score that they ask for.

    Raises:
        DataError: a file or one of its rows is wrong, or two files have a call of the same id.
        InputError: there are no calls, or a file lacks a column of scores.
    """
    asked = {name: strategy.name for strategy in strategies for name in strategy.score_names()}
    calls: list[FileCall] = []
    file_of: dict[str, Path] = {}
    for path in files:
        for call in read_call_file(path, timezone=timezone):
            if call.call_id in file_of:
                raise DataError(
                    f"{path}:{call.line}: call_id {call.call_id!r} occurs in {file_of[call.call_id]} too; "
                    "every call needs an id of its own"
                )
            calls.append(call)
            if missing := sorted(asked.keys() - call.scores.keys()):
                raise InputError(
                    f"{path}: column '{SCORE_COLUMN}{missing[0]}' is missing, for which strategy "
                    f"{asked[missing[0]]!r} asks; add what the model said of each call, by a version that was trained "
                    "before the call, or leave the strategy out"
                )
        file_of |= {call.call_id: path for call in calls[len(file_of) :]}
    if not calls:
        raise InputError(f"{', '.join(map(str, files))}: found no calls; there is nothing to simulate")
    return FileCalls(calls)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19 and str(int(text)) == text
