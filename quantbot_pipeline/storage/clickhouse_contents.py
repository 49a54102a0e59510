"""The part of `ClickHouseStore` that says what months of candles hold, by a hash, and remembers it.

Hashing reads every candle. What a partition holds is told by its parts, which never change; so hashes are kept in
`candle_contents` beside a digest of the parts, and count as long as the partition has these.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.errors import ServerError, StorageError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection

TOKENS_PER_QUERY = 500
"""Tokens that one query asks for: some 40 kB of parameters."""

_CONTENTS_SCHEMA = pa.schema(
    [
        pa.field("chain", pa.string(), nullable=False),
        pa.field("token_address", pa.string(), nullable=False),
        pa.field("interval", pa.string(), nullable=False),
        pa.field("month", pa.string(), nullable=False),
        pa.field("candle_count", pa.int64(), nullable=False),
        pa.field("first_s", pa.int64(), nullable=False),
        pa.field("last_s", pa.int64(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        pa.field("imported", pa.int64(), nullable=False),
    ]
)
_HASHED_SCHEMA = pa.schema([pa.field("partition_id", pa.string(), nullable=False), *_CONTENTS_SCHEMA])

# Tokens that lack other partitions than others are asked for apart, but not by many queries.
_QUERIES_AT_MOST = 8


class _Partition(NamedTuple):
    chain: str
    parts_digest: str


class CandleContents:
    """What months of candles hold, for a store that has a connection."""

    _connection: ClickHouseConnection

    def load_contents(self, tokens: Collection[TokenKey], *, anew: bool = False) -> pa.Table:
        """Return what `load_coverage` does of some tokens, with `content`, a hash of the candles, and `imported`.

        Args:
            tokens: Which tokens.
            anew: Hash all candles, whatever is remembered, and remember nothing.
        """
        partitions = {} if anew else self._partitions()
        if not partitions:
            return _in_order(self._hash(tokens, ()))
        chunks = [_in_order(self._contents(chunk, partitions)) for chunk in _chunks(tokens)]
        return pa.concat_tables(chunks) if chunks else _in_order(_HASHED_SCHEMA.empty_table())

    def load_remembered_contents(self, tokens: Collection[TokenKey]) -> tuple[pa.Table, pa.Table]:
        """Return what is remembered of some tokens, and the same hashed anew; nothing is remembered by it.

        Left out is what does not count, because its partition has other parts now, or changed while it was hashed.
        """
        before = self._partitions()
        chunks = [self._remembered(chunk, before) for chunk in _chunks(tokens) or [()]]
        now = self._partitions()
        steady = pa.array([name for name, partition in before.items() if now.get(name) == partition], pa.string())
        known, hashed = (pa.concat_tables(tables) for tables in zip(*chunks, strict=True))
        return _in_order(known.filter(pc.is_in(known["partition_id"], steady))), _in_order(
            hashed.filter(pc.is_in(hashed["partition_id"], steady))
        )

    def load_imported(self, tokens: Collection[TokenKey]) -> pa.Table:
        """Return chain, token_address, interval, month and `imported` of some tokens: quicker than their contents."""
        return self._read_of_tokens("candles/load_imported", tokens)

    def _contents(self, tokens: Sequence[TokenKey], partitions: Mapping[str, _Partition]) -> pa.Table:
        """Return what is remembered of tokens, and hash the rest."""
        known = self._known(tokens, partitions)
        has = set(zip(*(known[name].to_pylist() for name in ("partition_id", "chain", "token_address")), strict=True))
        lacking: dict[frozenset[str], list[TokenKey]] = defaultdict(list)
        for token in tokens:
            wanted = (name for name, partition in partitions.items() if partition.chain == token.chain)
            lacks = frozenset(name for name in wanted if (name, *token) not in has)
            if lacks:
                lacking[lacks].append(token)
        if len(lacking) > _QUERIES_AT_MOST:
            lacking = {frozenset().union(*lacking): [token for part in lacking.values() for token in part]}
        found = [known]
        for names, lackers in lacking.items():
            hashed = self._hash(lackers, sorted(names))
            self._remember(lackers, {name: partitions[name] for name in names}, hashed)
            again = [(name, *token) in has for name, *token in _keys(hashed)]
            found.append(hashed.filter(pc.invert(pa.array(again, pa.bool_()))))
        return pa.concat_tables(found)

    def _partitions(self) -> dict[str, _Partition]:
        """Return the partitions of candles; none where they do not tell what is in them."""
        try:
            rows = self._connection.read("candles/load_parts_digests").to_pylist()
        except ServerError:
            raise
        except StorageError:
            # A user of a server of somebody else may not be allowed to look at parts.
            return {}
        if not all(row["chain"] and row["is_plain"] for row in rows):
            return {}
        return {row["partition_id"]: _Partition(row["chain"], row["parts_digest"]) for row in rows}

    def _known(self, tokens: Sequence[TokenKey], partitions: Mapping[str, _Partition]) -> pa.Table:
        rows = self._connection.read(
            "candles/load_known_contents",
            chains=[token.chain for token in tokens],
            token_addresses=[token.address for token in tokens],
            partition_ids=list(partitions),
            parts_digests=[partition.parts_digest for partition in partitions.values()],
        )
        return rows.select(_HASHED_SCHEMA.names).cast(_HASHED_SCHEMA)

    def _remembered(
        self, tokens: Sequence[TokenKey], partitions: Mapping[str, _Partition]
    ) -> tuple[pa.Table, pa.Table]:
        """Return what is remembered of tokens, and what their partitions of which something is are hashed to."""
        known = self._known(tokens, partitions)
        names = set(_keys(known))
        if not names:
            return known, known
        hashed = self._hash(tokens, sorted({name for name, _, _ in names}))
        return known, hashed.filter(pa.array([key in names for key in _keys(hashed)], pa.bool_()))

    def _hash(self, tokens: Collection[TokenKey], partition_ids: Sequence[str]) -> pa.Table:
        rows = self._read_of_tokens("candles/load_contents", tokens, partition_ids=list(partition_ids))
        return rows.select(_HASHED_SCHEMA.names).cast(_HASHED_SCHEMA)

    def _remember(self, tokens: Sequence[TokenKey], before: Mapping[str, _Partition], hashed: pa.Table) -> None:
        """Keep what partitions were hashed to, of those that had the same parts before and after."""
        now = self._partitions()
        steady = {name: partition.parts_digest for name, partition in before.items() if now.get(name) == partition}
        found = set(_keys(hashed))
        # That a token has nothing in a partition is worth knowing too.
        nothing = [
            (name, *token, "", "", 0, 0, 0, "", 0)
            for token in tokens
            for name in steady
            if before[name].chain == token.chain and (name, *token) not in found
        ]
        columns = list(zip(*nothing, strict=True)) or [()] * len(_HASHED_SCHEMA)
        empty = pa.table(
            [pa.array(column, field.type) for column, field in zip(columns, _HASHED_SCHEMA, strict=True)],
            schema=_HASHED_SCHEMA,
        )
        rows = pa.concat_tables([hashed.filter(pc.is_in(hashed["partition_id"], pa.array(steady, pa.string()))), empty])
        digests = pa.array([steady[name] for name in rows["partition_id"].to_pylist()], pa.string())
        self._connection.insert_table("candle_contents", rows.append_column("parts_digest", digests))

    def _read_of_tokens(self, query: str, tokens: Collection[TokenKey], **parameters: object) -> pa.Table:
        # By chunks also where there are none: a table has its columns then too.
        return pa.concat_tables(
            [
                self._connection.read(
                    query,
                    chains=[token.chain for token in chunk],
                    token_addresses=[token.address for token in chunk],
                    **parameters,
                )
                for chunk in _chunks(tokens) or [()]
            ]
        )


def _chunks(tokens: Collection[TokenKey]) -> list[Sequence[TokenKey]]:
    ordered = sorted(tokens)
    return [ordered[first : first + TOKENS_PER_QUERY] for first in range(0, len(ordered), TOKENS_PER_QUERY)]


def _keys(hashed: pa.Table) -> Iterable[tuple[str, str, str]]:
    names = ("partition_id", "chain", "token_address")
    return zip(*(hashed[name].to_pylist() for name in names), strict=True)


def _in_order(rows: pa.Table) -> pa.Table:
    """Return the months that have candles, by token, interval and month."""
    stored = rows.filter(pc.not_equal(rows["interval"], "")).select(_CONTENTS_SCHEMA.names)
    return stored.sort_by([(name, "ascending") for name in ("chain", "token_address", "interval", "month")])
