"""The card of a model: what it learned from, how it did on calls that it never saw, and what it must not be used for.

All but the drift is in the registry's row, so a card can be written anew at any time.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from quantbot_pipeline.report.figures import CURVE_COLOURS
from quantbot_pipeline.report.page import render_page
from quantbot_pipeline.report.site_paths import SECTIONS
from quantbot_pipeline.report.tables import figure_text
from quantbot_pipeline.storage.records import ModelRow

CARD_FOLDER = "models"
"""Folder of cards beside the report."""

_FEATURES_DRAWN = 15
_PIXELS_PER_FEATURE = 24

# Of the last window, which decides, and of the walk-forward before it.
_LAST, _WALK = CURVE_COLOURS[0], CURVE_COLOURS[1]

_METRIC_NAMES = {
    "roc_auc": ("ROC AUC", "higher is better"),
    "pr_auc": ("PR AUC", "higher is better"),
    "brier": ("Brier score", "lower is better"),
    "log_loss": ("Log loss", "lower is better"),
    "calibration_error": ("Expected calibration error", "lower is better"),
    "mae": ("Mean absolute error", "lower is better"),
    "rmse": ("Root mean squared error", "lower is better"),
    "r2": ("R²", "higher is better"),
    "spearman": ("Rank correlation (Spearman)", "higher is better"),
    "pair_accuracy": ("Pairs in the right order", "higher is better"),
}

_LEARNS = {
    "classification": "the probability that the label is 1",
    "regression": "the label itself, a number",
    "ranking": "which of two calls is better; its score is the probability to be better than the average call",
}


def card_path(row: ModelRow) -> PurePosixPath:
    """Return where a model's card is, from the folder of the report."""
    return card_path_of(row.name, row.version)


def card_path_of(name: str, version: str) -> PurePosixPath:
    """Return where the card of a model's version is, from the folder of the report."""
    # Names that were stored can be part of a file name; one that came another way leads nowhere else.
    return PurePosixPath(CARD_FOLDER) / re.sub(r"[^A-Za-z0-9._-]", "_", f"{name}-{version}.html", flags=re.ASCII)


def render_model_card(row: ModelRow, drift: Mapping[str, Any] | None = None, *, is_beside_report: bool = False) -> str:
    """Return the card as one HTML file that needs nothing else; equal rows and drift give equal text.

    Args:
        row: The model.
        drift: Document of what was last found of its drift (`workflows.model_drift`).
        is_beside_report: Whether the card leads to the pages of the report.
    """
    metrics = row.metrics
    walk = metrics.get("out_of_fold") or {}
    curves, walk_curves = metrics.get("curves") or {}, walk.get("curves") or {}
    importance = metrics.get("importance") or []
    figures: dict[str, Any] = {}
    if importance:
        figures["importance"] = _importance_figure(importance[:_FEATURES_DRAWN])
    shifts = (drift or {}).get("columns") or ()
    if shifts:
        figures["drift"] = _drift_figure(shifts[:_FEATURES_DRAWN])
    for name, draw in (
        ("pnl_by_score", _pnl_figure),
        ("reliability", _reliability_figure),
        ("precision_recall", _precision_recall_figure),
    ):
        if curves.get(name):
            figures[name] = draw(curves[name], walk_curves.get(name) or [])
    baselines = sorted(name for name, value in metrics.items() if name.startswith("baseline_") and value)
    return render_page(
        "model_card.html.j2",
        figures,
        model=row,
        sections=SECTIONS if is_beside_report else (),
        # Rows of earlier versions say less.
        metrics=defaultdict(lambda: None, metrics),
        walk=defaultdict(lambda: None, walk),
        learns=_LEARNS.get(str(metrics.get("task")), "an unknown task"),
        label_facts=[(name, _text(value)) for name, value in row.label_definition.items()],
        window=[
            (name, _span(metrics.get(f"{part}_start"), metrics.get(f"{part}_end")), metrics.get(count))
            for name, part, count in (("Trained on", "train", "n_train"), ("Tested on", "test", "n_test"))
        ],
        test_start=_instant(metrics.get("test_start")),
        baselines=[name.removeprefix("baseline_").replace("_", " ") for name in baselines],
        last_table=_metric_table(metrics, baselines),
        walk_table=_metric_table(walk, [name for name in baselines if name in walk]) if walk else [],
        importance=importance,
        drift=drift,
        drift_pixels=90 + _PIXELS_PER_FEATURE * min(len(shifts), _FEATURES_DRAWN),
        importance_pixels=60 + _PIXELS_PER_FEATURE * min(len(importance), _FEATURES_DRAWN),
        recipe=[(name, _text(value)) for name, value in _recipe(metrics.get("recipe") or {})],
        searched=sorted((metrics.get("recipe") or {}).get("searched") or [], key=lambda each: float(each["loss"])),
    )


def _metric_table(metrics: Mapping[str, Any], baselines: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "name": shown,
            "direction": direction,
            "model": metrics[name],
            "baselines": [(metrics.get(each) or {}).get(name) for each in baselines],
        }
        for name, (shown, direction) in _METRIC_NAMES.items()
        if name in metrics
    ]


def _recipe(recipe: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name.replace("_", " "), value) for name, value in sorted(recipe.items()) if name != "searched"]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(each) for each in value) or "none"
    return str(value)


def _span(start: int | None, end: int | None) -> str:
    return f"{_instant(start)} to {_instant(end)}"


def _instant(second: int | None) -> str:
    return "an unknown time" if second is None else f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M} UTC"


def _layout(x: str, y: str, **more: Any) -> dict[str, Any]:
    return {
        "hovermode": "closest",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 60, "r": 12, "t": 8, "b": 46},
        "xaxis": {"title": {"text": x}} | more.pop("xaxis", {}),
        "yaxis": {"title": {"text": y}} | more.pop("yaxis", {}),
        **more,
    }


def _importance_figure(importance: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = list(reversed(importance))
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": [figure_text(str(each["feature"])) for each in rows],
        "x": [each["rise"] for each in rows],
        "error_x": {"type": "data", "array": [each["deviation"] for each in rows], "thickness": 1},
        "marker": {"color": _LAST},
        "hovertemplate": "%{y}: %{x:.4g}<extra></extra>",
    }
    layout = _layout("rise of the loss when shuffled", "", showlegend=False)
    layout["margin"] |= {"l": 12}
    layout["yaxis"] = {"automargin": True}
    return {"data": [trace], "layout": layout}


def _drift_figure(shifts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = list(reversed(shifts))
    names = [figure_text(str(each["name"])) for each in rows]
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "index",
        "y": names,
        "x": [each["psi"] for each in rows],
        "marker": {"color": _LAST},
        "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
    }
    chance = {
        "type": "scatter",
        "mode": "markers",
        "name": "chance stays below",
        "y": names,
        "x": [each["chance"] for each in rows],
        "marker": {"color": _WALK, "symbol": "line-ns-open", "size": 14},
        "hovertemplate": "%{y}: chance stays below %{x:.3f}<extra></extra>",
    }
    layout = _layout("population stability index", "", barmode="overlay")
    layout["margin"] |= {"l": 12}
    layout["yaxis"] = {"automargin": True}
    return {"data": [bars, chance], "layout": layout}


def _both(
    last: Sequence[Mapping[str, Any]], walk: Sequence[Mapping[str, Any]], x: str, y: str, **more: Any
) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": [each[x] for each in rows],
            "y": [each[y] for each in rows],
            "line": {"color": colour, "width": 2},
            **more,
        }
        for name, rows, colour in (("last window", last, _LAST), ("walk-forward", walk, _WALK))
        if rows
    ]


def _pnl_figure(last: Sequence[Mapping[str, Any]], walk: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    traces = [
        {
            "type": "bar",
            "name": name,
            "x": list(range(1, len(rows) + 1)),
            "y": [each["mean_pnl"] for each in rows],
            "customdata": [each["rows"] for each in rows],
            "marker": {"color": colour},
            "hovertemplate": "group %{x}: %{y:+.2%} of %{customdata} calls",
        }
        for name, rows, colour in (("last window", last, _LAST), ("walk-forward", walk, _WALK))
        if rows
    ]
    layout = _layout(
        "calls by score, worst to best", "mean pnl", barmode="group", xaxis={"dtick": 1}, yaxis={"tickformat": "+.0%"}
    )
    return {"data": traces, "layout": layout}


def _reliability_figure(last: Sequence[Mapping[str, Any]], walk: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    diagonal = {
        "type": "scatter",
        "mode": "lines",
        "name": "as it should be",
        "x": [0, 1],
        "y": [0, 1],
        "line": {"color": "#888888", "dash": "dot", "width": 1},
        "hoverinfo": "skip",
    }
    scale = {"range": [0, 1], "tickformat": ".0%"}
    layout = _layout("score", "share of positive calls", xaxis=scale, yaxis=scale)
    return {"data": [diagonal, *_both(last, walk, "mean_score", "positive_share")], "layout": layout}


def _precision_recall_figure(last: Sequence[Mapping[str, Any]], walk: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scale = {"range": [0, 1.02], "tickformat": ".0%"}
    layout = _layout("recall", "precision", xaxis=scale, yaxis=scale)
    return {"data": _both(last, walk, "recall", "precision", mode="lines"), "layout": layout}
