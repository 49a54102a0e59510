"""What a database knows of views: builds, the views that people read, and what a place of builds can do.

A build is a view or table beside those that people read; its name ends with the hash of all that its rows depend on:
`mart_runs_ranked__0f3a…`. It reads other builds, never what people read. What people read is a thin view of the plain
name that shows one build, so that changing it is one quick statement, a view that fails keeps its old build with all
that this one reads, and nobody ever meets a half of two versions.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Protocol

import pyarrow as pa

from quantbot_pipeline.storage.views.files import ViewTest
from quantbot_pipeline.storage.views.rendering import View, reached

TRIAL_SUFFIX = "__new"
"""Ends the name of a build whose tests have not passed yet."""

_CONTENTS = re.compile(r"([0-9A-F]{32}) ([0-9A-F]{32}) (\d+)")
_BUILD_NAME = re.compile(r"view_builds[`\"]?\.[`\"]?(?P<name>(?:stg|int|mart)_[a-z0-9_]+__[0-9a-f]{12})\b")


@dataclass(frozen=True, slots=True)
class Contents:
    """What tables held at a moment.

    Attributes:
        blocks: What was last written to each of their partitions, which a server counts from its start on. Merges
            leave it as it is.
        parts: Their files, which merges change too.
        started_s: When the server was started, seconds since the epoch; give or take one, as it is reckoned. 0 where it
            ran for less than three: any other start is further away than these from one that is told.
    """

    blocks: str
    parts: str
    started_s: int

    def __str__(self) -> str:
        return f"{self.blocks} {self.parts} {self.started_s}"

    @classmethod
    def parse(cls, text: str) -> "Contents | None":
        """Return what `str` made a text of; None for any other text."""
        found = _CONTENTS.fullmatch(text)
        return None if found is None else cls(found[1], found[2], int(found[3]))

    def are_still(self, later: "Contents") -> bool:
        """Return whether the same rows are there at a later moment; where it can't be told, they are not."""
        is_of_one_start = self.started_s > 0 and abs(later.started_s - self.started_s) <= 1
        return later.parts == self.parts or (later.blocks == self.blocks and is_of_one_start)


@dataclass(frozen=True, slots=True)
class Build:
    """One build in a database.

    Attributes:
        name: The view's name, two underscores, the hash, and `__new` while it is on trial.
        is_table: Whether its rows are stored.
        contents: What its sources held when it was filled; None where that is not known.
        definition: Its SQL as the database gives it, where builds are found by name in it.
        is_told: Whether the database could tell its definition.
    """

    name: str
    is_table: bool
    contents: Contents | None = None
    definition: str = ""
    is_told: bool = True

    @property
    def reads(self) -> frozenset[str]:
        """Other builds that it reads."""
        return build_names_in(self.definition) - {self.name}

    def is_filled_from(self, contents: Contents | None) -> bool:
        """Return whether it holds what its sources do, as far as that can be told."""
        return self.contents is not None and contents is not None and self.contents.are_still(contents)

    @property
    def is_on_trial(self) -> bool:
        """Whether its tests have not passed yet."""
        return self.name.endswith(TRIAL_SUFFIX)


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column of a build: its name and its type in the database's words."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class PublishedView:
    """A view that people read.

    Attributes:
        name: Its name.
        build_name: The build that it shows; None where it is no view of this kind.
        comments: Of the view and of its columns in order.
        is_readable: Whether the read-only role may read it, where there is one.
        is_told: Whether the database could tell its definition; the build is not known else.
    """

    name: str
    build_name: str | None
    comments: tuple[str, ...]
    is_readable: bool = True
    is_told: bool = True


@dataclass(frozen=True, slots=True)
class Publication:
    """What a view that people read is to show from now on."""

    view: View
    build_name: str
    columns: tuple[OutputColumn, ...]


class ViewBuilds(Protocol):
    """A place of builds; see `PostgresBuilds` and `ClickHouseBuilds`."""

    def close(self) -> None:
        """End the connections, and with them the lock of Postgres."""
        ...

    def prepare(self) -> None:
        """Make the place of builds, and remove what an interrupted build left on trial."""
        ...

    def builds(self) -> dict[str, Build]:
        """Return what is there, by name."""
        ...

    def published(self) -> dict[str, PublishedView]:
        """Return the views that people read, by name."""
        ...

    def contents(self, tables: Sequence[str]) -> Contents | None:
        """Return what tables hold; None where that is not known."""
        ...

    def source_address(self, name: str) -> str:
        """Return the quoted address of a table of the migrations, or of a published view."""
        ...

    def build_address(self, build_name: str) -> str:
        """Return the quoted address of a build."""
        ...

    def create(self, view: View, build_name: str, select: str, contents: Contents | None) -> None:
        """Create a view's build, with its rows where it is a table."""
        ...

    def accept(self, trial_name: str, build: Build) -> None:
        """Give a build that passed its tests its name; take the place of one that is there."""
        ...

    def columns(self, build_name: str) -> list[OutputColumn]:
        """Return the columns of a build in order."""
        ...

    def count_rows(self, address: str) -> int:
        """Return how many rows a view or table has."""
        ...

    def count_failures(self, test: ViewTest, address: str, addresses: Mapping[str, str]) -> int:
        """Return how many rows break a test."""
        ...

    def first_failures(
        self, test: ViewTest, address: str, addresses: Mapping[str, str], shown: Sequence[str]
    ) -> list[tuple[str | None, ...]]:
        """Return columns, as texts, of the first rows (of `unique`: keys) that break a test."""
        ...

    def current_runs(self) -> pa.Table:
        """Return the completed, current backtests that views show, and the verdict on their candles, by id."""
        ...

    def read_rows(self, address: str, expressions: Sequence[str]) -> Iterator[tuple[object, ...]]:
        """Yield what expressions of the project's files come to, row by row."""
        ...

    def publish(self, publications: Sequence[Publication]) -> dict[str, str]:
        """Show new builds; return by view why one could not be changed."""
        ...

    def unpublish(self, name: str) -> str | None:
        """Drop a view that has no file any more; return why it could not be."""
        ...

    def drop_build(self, build: Build) -> None:
        """Drop one build."""
        ...


def build_name_in(definition: str) -> str | None:
    """Return the build that a view shows, None for a view that shows none or several."""
    names = build_names_in(definition)
    return next(iter(names)) if len(names) == 1 else None


def build_names_in(definition: str) -> frozenset[str]:
    """Return the builds that a definition reads."""
    return frozenset(match["name"] for match in _BUILD_NAME.finditer(definition))


def unused_builds(builds: Mapping[str, Build], published: Mapping[str, PublishedView]) -> list[Build]:
    """Return the builds that no published view shows or reads through others, those that read others first.

    None where a definition is not told: any build may be read by it.
    """
    if not (all(build.is_told for build in builds.values()) and all(view.is_told for view in published.values())):
        return []
    shown = {view.build_name for view in published.values() if view.build_name is not None} & builds.keys()
    used = shown | reached(shown, lambda name: builds[name].reads & builds.keys())
    unused = builds.keys() - used
    order = TopologicalSorter({name: builds[name].reads & unused for name in unused})
    return [builds[name] for name in reversed(list(order.static_order()))]


_MISSING_COLUMN = re.compile(
    r"""identifiers?:?\ [`'"](?:\w+\.)*(?P<clickhouse>\w+)|column\ "?(?:\w+\.)?(?P<postgres>\w+)"?\ does\ not\ exist""",
    re.VERBOSE | re.IGNORECASE,
)


def missing_column_in(answer: str) -> str | None:
    """Return the column that a database says it does not know; None where its answer is about something else."""
    found = _MISSING_COLUMN.search(answer)
    return None if found is None else found["clickhouse"] or found["postgres"]


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
