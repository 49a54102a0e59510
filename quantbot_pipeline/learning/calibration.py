"""Calibration: a curve that turns a model's scores into probabilities, learned from rows that the model did not see.

The curve has two numbers (Platt's sigmoid), because the data sets are small: a free curve would follow their noise.

Source: Platt (1999), "Probabilistic Outputs for Support Vector Machines".
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.errors import LearningError

MIN_CALIBRATION_ROWS = 50
"""With fewer unseen rows than this, scores are left as they are."""

# Scores of exactly 0 or 1 have no logarithm of odds.
_EDGE = 1e-6

# A curve never turns the order of scores around, nor makes them all alike.
_SMALLEST_SLOPE = 0.01


class SigmoidCalibrated(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """A fitted classifier whose probability p becomes sigmoid(slope * logit(p) + intercept).

    Attributes:
        estimator: The fitted classifier of two classes.
        slope: Above 0; below 1 draws scores towards the middle.
        intercept: Moves all of them.
    """

    def __init__(self, estimator: Any, slope: float, intercept: float) -> None:
        self.estimator = estimator
        self.slope = slope
        self.intercept = intercept

    def fit(self, features: object, label: object) -> "SigmoidCalibrated":  # noqa: ARG002 - scikit-learn asks for it
        """Refuse: both parts were fitted, on different rows.

        Raises:
            LearningError: always.
        """
        raise LearningError("a calibrated model is not fitted again; train a new one")

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def classes_(self) -> Any:
        """Return the classes of the classifier."""
        return self.estimator.classes_

    @property
    def feature_names_in_(self) -> Any:
        """Return the names of the features, where it is the classifier that reads them."""
        return self.estimator.feature_names_in_

    @property
    def n_features_in_(self) -> int:
        """Return the number of features."""
        return int(self.estimator.n_features_in_)

    def predict_proba(self, features: pd.DataFrame | FloatArray) -> FloatArray:
        """Return the probabilities of both classes, shape (n, 2)."""
        raw = np.asarray(self.estimator.predict_proba(features)[:, 1], dtype=np.float64)
        score = 1 / (1 + np.exp(-(self.slope * _logit(raw) + self.intercept)))
        return np.column_stack([1 - score, score])

    def predict(self, features: pd.DataFrame | FloatArray) -> Any:
        """Return the likelier class of each row."""
        return self.classes_[(self.predict_proba(features)[:, 1] > 0.5).astype(np.int64)]


def fit_sigmoid(score: FloatArray, label: FloatArray) -> tuple[float, float] | None:
    """Return slope and intercept of the curve, or None when the rows are too few or all of one class.

    Args:
        score: Probabilities of rows that their model did not see.
        label: 0 or 1 per row.
    """
    if len(label) < MIN_CALIBRATION_ROWS or len(np.unique(label)) < 2:
        return None
    curve = LogisticRegression(C=1.0, max_iter=1_000).fit(_logit(score)[:, None], label.astype(np.int64))
    slope = float(curve.coef_[0, 0])
    if slope >= _SMALLEST_SLOPE:
        return slope, float(curve.intercept_[0])
    # The unseen rows say that the order is worth nothing: all that is left is how many are positive.
    share = float(np.clip(label.mean(), _EDGE, 1 - _EDGE))
    return _SMALLEST_SLOPE, float(np.log(share / (1 - share)) - _SMALLEST_SLOPE * _logit(score).mean())


def _logit(score: FloatArray) -> FloatArray:
    clipped = np.clip(score, _EDGE, 1 - _EDGE)
    return np.log(clipped / (1 - clipped))
