"""Building and reading features, as tests of what rests on them do."""

import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.workflows.build_features import (
    FeaturePlan,
    build_stored_features,
    load_entry_calls,
    load_feature_rows,
)


def load_features(plan: FeaturePlan, history: ClickHouseStore) -> pa.Table:
    """Return all stored features of a plan: `call_id` and one float64 column each, by call."""
    return load_feature_rows(plan, history).table


def store_features(strategy: str, state: PostgresStore, history: ClickHouseStore) -> pa.Table:
    """Bring the features of all entry calls up to date and return those of calls that are in force, by call."""
    plan = FeaturePlan(strategy)
    build_stored_features(plan, state, history)
    features = load_features(plan, history)
    call_ids = pa.array([call.call_id for call in load_entry_calls(state)], pa.int64())
    return features.filter(pc.is_in(features["call_id"], call_ids))
