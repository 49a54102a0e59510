"""The processes that faults happen to, and the one that makes them.

Loading all libraries takes seconds, so one process loads them once and forks a victim for each run: what is started
here is a process of its own with its own connections, which can be killed, stopped and waited for like any other.

Reads one JSON document per line from standard input and answers each with one line:
`{"start": {...}}` gives `{"pid": N}`, `{"wait": N, "seconds": S}` gives `{"status": code}`, null while it runs.
"""

import gc
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.faults import daemon_work
from tests.faults.moments import Announcer, announce_stores
from tests.faults.writers import write_for_a_while


def main() -> int:
    """Fork victims until standard input ends."""
    _load_everything()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            pid = os.fork()
            if pid == 0:
                _be_victim(asked["start"])
            answer: dict[str, Any] = {"pid": pid}
        else:
            answer = {"status": _wait(asked["wait"], asked["seconds"])}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


def _load_everything() -> None:
    """Load what the commands load when they need it, so that victims find it loaded; open nothing."""
    import dagster  # noqa: F401 - loaded for the victims
    import optuna  # noqa: F401 - loaded for the victims
    import pyarrow.pandas_compat  # noqa: F401 - the same
    import sklearn.ensemble  # noqa: F401 - the same

    from quantbot_pipeline.cli import candle_outcomes, stores  # noqa: F401 - the same
    from quantbot_pipeline.cli.app import build_app
    from quantbot_pipeline.servers import embedded  # noqa: F401 - the same
    from quantbot_pipeline.storage import clickhouse, migrations, postgres, views  # noqa: F401 - the same
    from quantbot_pipeline.workflows import (  # noqa: F401 - the same
        backfill,
        candle_quality,
        check_files,
        derive_calls,
        integrity,
        run_optimization,
        run_simulations,
        train_models,
    )
    from quantbot_pipeline.workflows.prepare_engine import prepare_engine

    build_app()
    prepare_engine(lambda _: None)


_ended: dict[int, int] = {}


def _wait(pid: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while pid not in _ended:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            _ended[pid] = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() > deadline:
            return None
        time.sleep(0.005)
    return _ended[pid]


def _be_victim(asked: dict[str, Any]) -> None:
    """Run the steps of a job as commands, end with the code of the first that fails, else with 0; never return."""
    code = 99
    try:
        os.setpgid(0, 0)
        output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(asked["environment"])
        # Tests that run in the background of a script ignore it, and victims would too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        time.tzset()
        if asked.get("relays"):
            _connect_through(asked["relays"])
        _make_batches_small()
        announcer = None
        if asked.get("listener"):
            announcer = Announcer(asked["listener"])
            announce_stores(announcer)
        code = _work(asked, announcer)
    except BaseException:  # noqa: BLE001 - the forked process must not go on in the loop of its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _work(asked: dict[str, Any], announcer: Announcer | None) -> int:
    if "writes" in asked:
        return write_for_a_while(**asked["writes"])
    if "backfill" in asked:
        return daemon_work.request_backfill(**asked["backfill"])
    if "daemon" in asked:
        return daemon_work.run_daemon(**asked["daemon"])
    return _run_steps(asked["steps"], announcer)


def _run_steps(steps: list[list[Any]], announcer: Announcer | None) -> int:
    from quantbot_pipeline.cli.main import main as run_command

    for name, *arguments in steps:
        if announcer is not None:
            announcer.step = name
            announcer.announce("before", "command", 1)
        try:
            run_command(arguments)
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        if code:
            return code
    return 0


def _make_batches_small() -> None:
    """Cut the work into many batches, so that a small job has as many moments as a large one."""
    from quantbot_pipeline.ingest import candle_streams
    from quantbot_pipeline.workflows import backfill, candle_bundles, run_optimization, run_simulations

    for module, name, size in (
        (candle_streams, "ROWS_PER_BATCH", 400),
        (candle_bundles, "ROWS_PER_BUNDLE", 400),
        (run_simulations, "_RUNS_PER_BATCH", 2),
        (backfill, "CANDLES_PER_BATCH", 100),
        (backfill, "RUNS_PER_BATCH", 2),
        (run_optimization, "ROWS_PER_WRITE", 2),
    ):
        if not hasattr(module, name):
            raise AssertionError(f"{module.__name__} has no {name} any more: say here how its batches are made small")
        setattr(module, name, size)


def _connect_through(relays: dict[str, Any]) -> None:
    """Lead the stores of this process through relays, whose connections can be reset."""
    from dataclasses import replace
    from urllib.parse import quote, urlsplit, urlunsplit

    from quantbot_pipeline.servers import embedded

    ensure = embedded.ensure_servers

    def relayed(*values: Any, **named: Any) -> Any:
        urls = ensure(*values, **named)
        if "postgres" in relays:
            query = f"host={quote(str(Path(relays['postgres']).parent), safe='')}"
            for name in ("postgres", "dagster_postgres"):
                parts = urlsplit(getattr(urls, name))
                urls = replace(urls, **{name: urlunsplit(parts._replace(query=query))})
        if "clickhouse" in relays:
            parts = urlsplit(urls.clickhouse)
            entrance = parts.netloc.rpartition(":")[0]
            urls = replace(urls, clickhouse=urlunsplit(parts._replace(netloc=f"{entrance}:{relays['clickhouse']}")))
        return urls

    embedded.ensure_servers = relayed


if __name__ == "__main__":
    sys.exit(main())
