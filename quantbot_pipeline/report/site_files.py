"""The report's folder: pages are swapped in one by one, the index last, and what is left over goes then.

A manifest names the files of the report, so that nothing else in the folder is ever touched, and what each was made
of, so that a page that would be the same is left as it is.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.report.page import write_page
from quantbot_pipeline.report.site_paths import INDEX
from quantbot_pipeline.report.site_render import RenderedPage, plotly_path, plotly_script

MANIFEST = ".quantbot-report.json"
"""Names the files of a report, beside them."""

_LOCK = ".quantbot-report.lock"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class SiteChanges:
    """What writing a report did.

    Attributes:
        index: The page to open.
        written: Pages that are new or show something else than before.
        unchanged: Pages that were left as they were.
        removed: Pages of the report before that this one does not have.
    """

    index: Path
    written: int
    unchanged: int
    removed: int

    @property
    def page_count(self) -> int:
        """All pages."""
        return self.written + self.unchanged


@dataclass(slots=True)
class SiteFolder:
    """The folder of a report, while it is written. Use as a context: another writer waits until this one is done.

    Attributes:
        directory: The folder; made when it is missing.
    """

    directory: Path
    _known: dict[str, dict[str, str]] = field(default_factory=dict)
    _pages: dict[str, dict[str, str]] = field(default_factory=dict)
    _written: int = 0
    _lock: int = -1

    def __enter__(self) -> Self:
        """Wait for the lock and read the manifest.

        Raises:
            ConfigError: the folder holds an index page that is no report, or can't be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(
                f"the report can't be written to {self.directory}: {error.strerror}; choose a folder with --out DIR"
            ) from error
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self._known = self._read_manifest()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the next writer in."""
        os.close(self._lock)

    def has(self, path: str, key: str) -> bool:
        """Return whether a page that was made of the same is there."""
        return self._known.get(path, {}).get("key") == key != "" and (self.directory / path).is_file()

    def keep(self, path: str) -> None:
        """Keep a page that is there."""
        self._pages[path] = self._known[path]

    def put(self, page: RenderedPage, *, key: str = "") -> None:
        """Write a page, whole or not at all, unless one that shows the same is there.

        Args:
            page: The page.
            key: What it was made of, where that can be told without making it; see `has`.
        """
        before = self._known.get(page.path, {})
        path = self.directory / page.path
        if before.get("digest") != page.digest or not path.is_file():
            write_page(page.text, path)
            self._written += 1
        self._pages[page.path] = {"digest": page.digest, "key": key}

    def put_script(self) -> None:
        """Write the script that draws charts, before the pages that need it."""
        path = self.directory / plotly_path()
        if not path.is_file():
            write_page(plotly_script(), path)

    def finish(self, index: RenderedPage) -> SiteChanges:
        """Swap in the index, write the manifest, and remove what the report does not have any more."""
        self.put(index)
        script = plotly_path()
        # First the names of both, so that a file that is being removed is never forgotten.
        self._write_manifest(self._known | self._pages)
        left = [path for path in self._known if path not in self._pages]
        for path in left:
            (self.directory / path).unlink(missing_ok=True)
        for old in (self.directory / script).parent.glob("plotly-*.js"):
            if old.name != Path(script).name:
                old.unlink(missing_ok=True)
        self._remove_single_page()
        self._write_manifest(self._pages)
        return SiteChanges(self.directory / INDEX, self._written, len(self._pages) - self._written, len(left))

    def _remove_single_page(self) -> None:
        """Remove the one page that reports of older versions were."""
        path = self.directory / "report.html"
        with _absent_is_fine():
            with path.open("rb") as file:
                is_ours = b"<title>Quantbot report" in file.read(2_000)
            if is_ours:
                path.unlink()

    def _read_manifest(self) -> dict[str, dict[str, str]]:
        path = self.directory / MANIFEST
        if not path.exists():
            if (self.directory / INDEX).exists():
                raise ConfigError(
                    f"{self.directory / INDEX} is there and is no report of quantbot, which would be overwritten; "
                    "choose another folder with --out DIR"
                )
            return {}
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            pages = document["pages"] if document["version"] == _VERSION else {}
            # Paths are joined to the folder and removed: only those that stay within it.
            return {
                name: {"digest": str(page["digest"]), "key": str(page["key"])}
                for name, page in pages.items()
                if not name.startswith("/") and ".." not in Path(name).parts
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            # Damaged: all pages are made anew; those that are left over stay.
            return {}

    def _write_manifest(self, pages: dict[str, dict[str, str]]) -> None:
        document = {"version": _VERSION, "pages": dict(sorted(pages.items()))}
        write_page(json.dumps(document, indent=1) + "\n", self.directory / MANIFEST)


@contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        return
