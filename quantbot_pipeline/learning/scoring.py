"""Scoring: what a trained model says about calls."""

import numpy as np
import pyarrow as pa
from sklearn.pipeline import Pipeline

from quantbot_pipeline.learning.model_kinds import predict
from quantbot_pipeline.learning.training import feature_frame

SCORE_SCHEMA = pa.schema(
    [pa.field("call_id", pa.int64(), nullable=False), pa.field("score", pa.float64(), nullable=False)]
)
"""Scores by call: the probability of label 1, of being better than the average call, or the expected number."""


def score_calls(pipeline: Pipeline, features: pa.Table) -> pa.Table:
    """Return the score of every call.

    Args:
        pipeline: A pipeline of `training.train_model`; it knows its features by name.
        features: `call_id` and at least these features; further columns and their order do not matter.

    Returns:
        A table of `SCORE_SCHEMA`, in the order of `features`.

    Raises:
        LearningError: a feature of the model is absent, not numeric, or infinite.
    """
    names = tuple(str(name) for name in pipeline.feature_names_in_)
    frame = feature_frame(features, names)
    score = predict(pipeline, frame)
    return pa.Table.from_arrays(
        [pa.array(features.column("call_id").to_numpy()), pa.array(np.asarray(score, dtype=np.float64))],
        schema=SCORE_SCHEMA,
    )
