"""What the views are, for people and programs: one page of HTML that needs no network, and the same as JSON.

Made from the files alone; no server is asked.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views.rendering import View

_COLUMN_WIDTH = 290
_ROW_HEIGHT = 34
_BOX_WIDTH = 230
_BOX_HEIGHT = 24
_MARGIN = 12


@dataclass(frozen=True, slots=True)
class LineageBox:
    """A view or table in the picture of what reads what; lengths in pixels, from the top left corner."""

    name: str
    kind: str
    x: int
    y: int
    link: str


@dataclass(frozen=True, slots=True)
class LineagePicture:
    """Boxes by layer from left to right, and the lines from what is read to what reads it."""

    width: int
    height: int
    boxes: tuple[LineageBox, ...]
    lines: tuple[str, ...]
    description: str


def describe_views(views: Sequence[View]) -> list[dict[str, Any]]:
    """Return what the files say of each view, ready for JSON: question, grain, columns, tests, what it reads."""
    readers: dict[tuple[Database, str], list[str]] = {}
    for view in views:
        for above in view.refs:
            readers.setdefault((view.database, above), []).append(view.name)
    return [
        {
            "database": view.database,
            "name": view.name,
            "description": view.file.description,
            "grain": view.file.grain,
            "materialized": view.materialized,
            "notes": view.file.notes,
            "columns": [
                {"name": column.name, "meaning": column.meaning, "unit": column.unit}
                for column in sorted(view.columns, key=lambda column: view.output_names.index(column.name))
            ],
            "tests": [*map(str, view.tests), *([str(view.file.agrees)] if view.file.agrees else [])],
            "reads_views": list(view.refs),
            "reads_tables": list(view.sources),
            "read_by": readers.get((view.database, view.name), []),
            "sql": view.readable_sql,
        }
        for view in views
    ]


def write_catalogue(views: Sequence[View], folder: Path) -> tuple[Path, Path]:
    """Write `views.html` and `views.json` and return their paths.

    Args:
        views: Those to describe.
        folder: Where to; made when missing.

    Raises:
        OSError: the folder can't be written to.
    """
    described = describe_views(views)
    databases = list(dict.fromkeys(view.database for view in views))
    pictures = {database: draw_lineage([view for view in views if view.database == database]) for database in databases}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("catalogue.html.j2").render(
        views=described, pictures=pictures, databases=databases, box_width=_BOX_WIDTH, box_height=_BOX_HEIGHT
    )
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "views.html", folder / "views.json"
    paths[0].write_text(page, encoding="utf-8")
    paths[1].write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return paths


def draw_lineage(views: Sequence[View]) -> LineagePicture:
    """Return where the views of one database and their tables lie in a picture.

    Args:
        views: Those that others read first.
    """
    depths: dict[str, int] = {}
    reads: dict[str, list[str]] = {}
    for view in views:
        names = {other.name for other in views}
        reads[view.name] = [*(name for name in view.refs if name in names), *view.sources]
        for source in view.sources:
            depths.setdefault(source, 0)
        depths[view.name] = 1 + max((depths[name] for name in reads[view.name]), default=0)
    layers: dict[int, list[str]] = {}
    for name, depth in depths.items():
        layers.setdefault(depth, []).append(name)
    rows: dict[str, float] = {}
    for depth in sorted(layers):
        # Beside what it reads: fewer lines cross.
        layers[depth].sort(key=lambda name: (_mean([rows[above] for above in reads.get(name, [])]), name))
        rows |= {name: float(row) for row, name in enumerate(layers[depth])}
    database = views[0].database if views else "postgres"
    places = {
        name: (_MARGIN + depth * _COLUMN_WIDTH, _MARGIN + int(rows[name]) * _ROW_HEIGHT)
        for name, depth in depths.items()
    }
    boxes = tuple(
        LineageBox(name, name.partition("_")[0] if name in reads else "table", x, y, f"{database}-{name}")
        for name, (x, y) in places.items()
    )
    lines = []
    for name, above in reads.items():
        for other in above:
            (x1, y1), (x2, y2) = places[other], places[name]
            start, end, half = (x1 + _BOX_WIDTH, y1 + _BOX_HEIGHT // 2), (x2, y2 + _BOX_HEIGHT // 2), 30
            lines.append(
                f"M{start[0]} {start[1]}C{start[0] + half} {start[1]} {end[0] - half} {end[1]} {end[0]} {end[1]}"
            )
    return LineagePicture(
        width=2 * _MARGIN + max(depths.values(), default=0) * _COLUMN_WIDTH + _BOX_WIDTH,
        height=2 * _MARGIN + max((len(layer) for layer in layers.values()), default=0) * _ROW_HEIGHT,
        boxes=boxes,
        lines=tuple(lines),
        description="; ".join(f"{name} reads {', '.join(above)}" for name, above in reads.items()),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
