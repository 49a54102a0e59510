"""Where the embedded ClickHouse keeps things, and what its owner process tells about itself."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from quantbot_pipeline.servers.processes import ProcessIdentity, write_atomically


@dataclass(frozen=True, slots=True)
class ClickHouseLayout:
    """The files below one directory.

    Attributes:
        directory: Holds all others; mode 0700.
    """

    directory: Path

    @property
    def data_directory(self) -> Path:
        """The engine's own."""
        return self.directory / "data"

    @property
    def spool_directory(self) -> Path:
        """Unnamed temporary files of inserts and large answers."""
        return self.directory / "spool"

    @property
    def password_file(self) -> Path:
        """The password, mode 0600."""
        return self.directory / "password"

    @property
    def reader_password_file(self) -> Path:
        """The password of the read-only user, mode 0600."""
        return self.directory / "reader-password"

    @property
    def state_file(self) -> Path:
        """An `OwnerState`; stays after the owner's end, for its port."""
        return self.directory / "owner.json"

    @property
    def log_file(self) -> Path:
        """What the owner process prints."""
        return self.directory / "owner.log"


@dataclass(frozen=True, slots=True)
class OwnerState:
    """What an owner process that is ready says about itself.

    Attributes:
        process: Who it is.
        port: Where it listens on 127.0.0.1.
        version: The engine's version.
    """

    process: ProcessIdentity
    port: int
    version: str

    def write(self, path: Path) -> None:
        """Replace the file at once, so that no reader sees half of it."""
        write_atomically(path, json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "OwnerState | None":
        """Return what the file says, None when there is none that can be read."""
        try:
            content = json.loads(path.read_text())
            return cls(ProcessIdentity(**content["process"]), int(content["port"]), str(content["version"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
