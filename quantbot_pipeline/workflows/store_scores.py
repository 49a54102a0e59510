"""Scores with what they rest on: which model, until when it had learned, and the features that it read."""

import numpy as np
import pyarrow as pa
from sklearn.pipeline import Pipeline

from quantbot_pipeline.learning.past_trades import float_column
from quantbot_pipeline.learning.scoring import score_calls
from quantbot_pipeline.storage.protocols import HistoryStore
from quantbot_pipeline.workflows.build_features import ROWS_PER_INSERT, FeatureRows, value_maps
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress


def store_scores(
    pipeline: Pipeline,
    rows: FeatureRows,
    history: HistoryStore,
    *,
    model_id: int,
    model_name: str,
    trained_until: int,
    on_progress: ProgressListener = no_progress,
) -> int:
    """Score calls that came after a model's training and store the scores; return how many they are.

    The same again is the same rows.

    Args:
        pipeline: The model, or a walk-forward fold of it.
        rows: The calls' features; calls that the model may have seen are left out.
        history: Where scores go.
        model_id: Row of the model.
        model_name: Its name.
        trained_until: When the last label was known that it was fitted to, seconds since the epoch, UTC.
        on_progress: Told of the calls that are done.

    Raises:
        LearningError: a feature of the model is absent or infinite.
    """
    usable = rows.take(np.flatnonzero(rows.signal > trained_until))
    count = len(usable.signal)
    names = [str(name) for name in pipeline.feature_names_in_]
    for begin in range(0, count, ROWS_PER_INSERT):
        part = usable.take(np.arange(begin, min(begin + ROWS_PER_INSERT, count)))
        scores = score_calls(pipeline, part.table)
        size = scores.num_rows
        history.insert_scores(
            pa.table(
                {
                    "model_id": pa.array(np.full(size, model_id, dtype=np.int64)),
                    "model_name": pa.array([model_name] * size, pa.string()),
                    "call_id": scores["call_id"],
                    "trained_until": pa.array(np.full(size, trained_until, dtype=np.int64)),
                    "score": scores["score"],
                    "feature_set": pa.array([rows.feature_set] * size, pa.string()),
                    "inputs_stamp": part.stamps,
                    "values": value_maps(names, np.column_stack([float_column(part.table, name) for name in names])),
                }
            )
        )
        on_progress(begin + size, count, f"{begin + size:,} of {count:,} calls")
    return count
