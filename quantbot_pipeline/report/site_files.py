"""The report's folder: all pages are made aside and moved in together, the index last; then goes what is left over.

A manifest names the files of the report, so that nothing else in the folder is ever touched, and what each was made
of, so that a page that would be the same is left as it is. Whatever ends the making leaves the report before as it was.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
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
_STAGING = ".quantbot-report.new"
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
    _staged: set[str] = field(default_factory=set)
    _is_new: bool = False
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
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._is_new = not (self.directory / MANIFEST).exists()
            if self._is_new:
                self._refuse_other_files([INDEX])
            self._known = self._read_manifest()
            # Of a report that was killed while it was made.
            shutil.rmtree(self.staging, ignore_errors=True)
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was not moved in, and let the next writer in."""
        shutil.rmtree(self.staging, ignore_errors=True)
        os.close(self._lock)

    @property
    def staging(self) -> Path:
        """Where files lie until `finish` moves them into the folder; other files than pages may be put there too."""
        return self.directory / _STAGING

    def has(self, path: str, key: str) -> bool:
        """Return whether a page that was made of the same is there."""
        return self._known.get(path, {}).get("key") == key != "" and (self.directory / path).is_file()

    def keep(self, path: str) -> None:
        """Keep a page that is there."""
        self._pages[path] = self._known[path]

    def put(self, page: RenderedPage, *, key: str = "") -> None:
        """Make a page, unless one that shows the same is there.

        Args:
            page: The page.
            key: What it was made of, where that can be told without making it; see `has`.
        """
        before = self._known.get(page.path, {})
        if before.get("digest") != page.digest or not (self.directory / page.path).is_file():
            write_page(page.text, self.staging / page.path)
            self._staged.add(page.path)
        self._pages[page.path] = {"digest": page.digest, "key": key}

    def put_script(self) -> None:
        """Make the script that draws charts, unless it is there."""
        if not (self.directory / plotly_path()).is_file():
            write_page(plotly_script(), self.staging / plotly_path())

    def finish(self, index: RenderedPage) -> SiteChanges:
        """Move everything in, the index last, write the manifest, and remove what the report does not have any more.

        Raises:
            ConfigError: files of somebody else would be overwritten.
        """
        self.put(index)
        if self._is_new:
            self._refuse_other_files(sorted(self._pages))
        # First the names of both, so that no file is ever forgotten; of what a page is that is being replaced, nobody
        # can tell until all of them are.
        undecided = {path: {"digest": "", "key": ""} for path in self._staged}
        self._write_manifest(self._known | self._pages | undecided)
        self._move_in()
        left = [path for path in self._known if path not in self._pages]
        for path in left:
            (self.directory / path).unlink(missing_ok=True)
        script = self.directory / plotly_path()
        for old in script.parent.glob("plotly-*.js"):
            if old.name != script.name:
                old.unlink(missing_ok=True)
        self._remove_single_page()
        self._write_manifest(self._pages)
        return SiteChanges(self.directory / INDEX, len(self._staged), len(self._pages) - len(self._staged), len(left))

    def _move_in(self) -> None:
        """Move what was made into the folder: first what nothing leads to yet, so that no link ever leads nowhere."""
        made = [path.relative_to(self.staging) for path in self.staging.rglob("*") if path.is_file()]
        made.sort(key=lambda path: (str(path) == INDEX, (self.directory / path).exists(), str(path)))
        for path in made:
            (self.directory / path).parent.mkdir(parents=True, exist_ok=True)
            (self.staging / path).replace(self.directory / path)

    def _refuse_other_files(self, paths: Iterable[str]) -> None:
        """Refuse to overwrite what no report has written."""
        for path in paths:
            if (self.directory / path).exists():
                raise ConfigError(
                    f"{self.directory / path} is there and is no report of quantbot, which would be overwritten; "
                    "choose another folder with --out DIR"
                )

    def _remove_single_page(self) -> None:
        """Remove the one page that reports of older versions were."""
        path = self.directory / "report.html"
        with _absent_is_fine():
            with path.open("rb") as file:
                is_ours = b"<title>Quantbot report" in file.read(2_000)
            if is_ours:
                path.unlink()

    def _read_manifest(self) -> dict[str, dict[str, str]]:
        if self._is_new:
            return {}
        try:
            document = json.loads((self.directory / MANIFEST).read_text(encoding="utf-8"))
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
