"""What a run is known by: the key over all that its result depends on, and the digest over its events.

Both are stored, and both can be computed anew from what is stored: `quantbot verify` does.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

METRICS_ONLY = "metrics-only"
"""Stands in the place of a digest for a trial of a search that was measured without events: it has no trace."""


def document_sha256(document: Any) -> str:
    """Return the SHA-256 of a JSON document, hex; the order of its keys changes nothing."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def run_key_of(engine_version: str, hash_of_config: str, data_selection: Mapping[str, Any]) -> str:
    """Return a run's key.

    Args:
        engine_version: Version of the engine's semantics.
        hash_of_config: Hash of the simulated configuration.
        data_selection: What the run reads, with the fingerprint over it.
    """
    return document_sha256([engine_version, hash_of_config, dict(data_selection)])


def events_digest(events: pa.Table) -> str:
    """Return a hash over events' values that does not depend on the library's file formats, hex.

    Args:
        events: Token by token in the order of the run, within a token by time of the call, call and seq; the number
            of the run is left out.
    """
    digest = hashlib.sha256()
    for name in sorted(set(events.column_names) - {"simulation_run_id"}):
        column = events[name].combine_chunks()
        digest.update(name.encode())
        if pa.types.is_string(column.type):
            digest.update("\x00".join(column.to_pylist()).encode())
        else:
            digest.update(np.ascontiguousarray(column.to_numpy(zero_copy_only=False)).tobytes())
    return digest.hexdigest()
