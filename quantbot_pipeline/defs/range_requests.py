"""Requests of runs over ranges of token-months, and what a run's tags say of its partitions."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import dagster as dg

from quantbot_pipeline.defs.partitions import cover_with_boxes, token_month_key
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.workflows.token_months import TokenMonth

_START_TAG = "dagster/asset_partition_range_start"
_END_TAG = "dagster/asset_partition_range_end"


def range_requests(keys: set[TokenMonth], token_order: Sequence[TokenKey], *, salt: str) -> list[dg.RunRequest]:
    """Return requests of range runs that cover all keys; the same keys with the same salt give the same run keys.

    Args:
        keys: Token-months.
        token_order: All tokens, in the order of Dagster's dynamic partitions.
        salt: What the requests are made for: equal where they are the same requests once more.
    """
    requests = []
    for box in cover_with_boxes(keys, token_order):
        first, last = str(token_month_key(box.first)), str(token_month_key(box.last))
        key = hashlib.sha256(json.dumps([salt, first, last]).encode()).hexdigest()
        requests.append(dg.RunRequest(run_key=key, tags={_START_TAG: first, _END_TAG: last}))
    return requests


def partitions_of_tags(tags: Mapping[str, str]) -> str | None:
    """Return which partitions a run is of, as people say it; None for a run of none."""
    if _START_TAG in tags and _END_TAG in tags:
        first, last = tags[_START_TAG], tags[_END_TAG]
        return first if first == last else f"{first} to {last}"
    return tags.get("dagster/partition")
