"""Moments between the steps of a command: every call of a store, and every statement that it sends.

Runs inside a victim (see `victim.py`). Each moment is announced on a socket before the work goes on, and the work waits
until it is told to: whoever listens decides what happens exactly there. Moments are found by these announcements,
never by sleeping.
"""

import functools
import inspect
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

GO_ON = b"\n"


class Announcer:
    """Tells a listener of each moment and waits for its answer.

    A moment's name is `STEP BEFORE_OR_AFTER WHAT NUMBER`: the number counts the calls of the same `what` in a step.

    Args:
        address: Path of the listener's Unix socket.
    """

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)
        self._lock = threading.Lock()
        self._numbers: Counter[tuple[str, str]] = Counter()
        self.step = "start"

    def number_of(self, what: str) -> int:
        """Return how often this was called in the step, this time included."""
        with self._lock:
            self._numbers[self.step, what] += 1
            return self._numbers[self.step, what]

    def announce(self, when: str, what: str, number: int) -> None:
        """Tell of a moment, and return once the work may go on."""
        with self._lock:
            self._socket.sendall(f"{self.step} {when} {what} {number}\n".encode())
            if not self._socket.recv(1):
                raise SystemExit("the listener of moments is gone")

    def wrapped(self, method: Callable[..., Any], what: Callable[..., str]) -> Callable[..., Any]:
        """Return a method that is announced before and after it did its work."""

        @functools.wraps(method)
        def announced(*values: Any, **named: Any) -> Any:
            name = what(*values, **named)
            number = self.number_of(name)
            self.announce("before", name, number)
            result = method(*values, **named)
            self.announce("after", name, number)
            return result

        return announced


def announce_stores(announcer: Announcer) -> None:
    """Announce all calls of the stores of this process from here on, whoever opens them."""
    from quantbot_pipeline.learning import model_files
    from quantbot_pipeline.storage.clickhouse import ClickHouseStore
    from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
    from quantbot_pipeline.storage.postgres import PostgresStore
    from quantbot_pipeline.storage.postgres_connection import PostgresTransaction
    from quantbot_pipeline.storage.views.clickhouse_builds import ClickHouseBuilds
    from quantbot_pipeline.storage.views.postgres_builds import PostgresBuilds
    from quantbot_pipeline.workflows import train_models

    for store, label in ((PostgresStore, "state"), (ClickHouseStore, "history")):
        for name, method in inspect.getmembers(store, inspect.isfunction):
            if not name.startswith("_") and name != "close":
                setattr(store, name, announcer.wrapped(method, _constant(f"{label}.{name}")))
    for builds, label in ((PostgresBuilds, "postgres-views"), (ClickHouseBuilds, "clickhouse-views")):
        for name in ("create", "accept", "publish"):
            setattr(builds, name, announcer.wrapped(getattr(builds, name), _constant(f"{label}.{name}")))
    for name in ("_run", "copy_rows"):
        method = getattr(PostgresTransaction, name)
        setattr(PostgresTransaction, name, announcer.wrapped(method, _postgres_statement))
    for name in ("command", "insert_selected", "fetch_table"):
        method = getattr(ClickHouseConnection, name)
        setattr(ClickHouseConnection, name, announcer.wrapped(method, _named_statement))
    for name in ("insert_table", "insert_stream"):
        method = getattr(ClickHouseConnection, name)
        setattr(ClickHouseConnection, name, announcer.wrapped(method, _insert))
    for module, name in ((train_models, "save_model"), (train_models, "load_model"), (model_files, "save_model")):
        setattr(module, name, announcer.wrapped(getattr(module, name), _constant(f"files.{name}")))


def _constant(text: str) -> Callable[..., str]:
    def name_of_call(*_: Any, **__: Any) -> str:
        return text

    return name_of_call


def _postgres_statement(_: Any, query: str, *__: Any) -> str:
    return f"postgres:{query}"


def _insert(_: Any, table: str, __: Any) -> str:
    return f"clickhouse:+{table}"


def _named_statement(_: Any, __: str, *, name: str, parameters: Any = None) -> str:
    return f"clickhouse:{name.replace(' ', '_')}"
