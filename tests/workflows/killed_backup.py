"""A process that backs up or restores a home, and kills itself before a given step of that.

Reads JSON from its standard input: work (`backup` or `restore`), home, postgres, dagster_postgres, clickhouse, folder,
and `dies_before`: the function of the workflow's module at whose call number `survived` the process ends, as kill -9
ends it.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantbot_pipeline.servers.status import ServerUrls
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.workflows import back_up, restore


def _fatal(function: Callable[..., Any], survived: int) -> Callable[..., Any]:
    calls = 0

    def call_or_die(*values: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > survived:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*values, **named)

    return call_or_die


def main() -> int:
    """Work until the fatal step."""
    asked = json.load(sys.stdin)
    settings = load_settings(home=Path(asked["home"]), postgres_url=None, clickhouse_url=None)
    urls = ServerUrls(asked["postgres"], asked["dagster_postgres"], asked["clickhouse"])
    folder = Path(asked["folder"])
    module: Any = back_up if asked["work"] == "backup" else restore
    setattr(module, asked["dies_before"], _fatal(getattr(module, asked["dies_before"]), asked["survived"]))
    if asked["work"] == "backup":
        back_up.back_up(settings, urls, folder)
    else:
        restore.restore(folder, restore.check_backup(folder), settings, urls)
    return 0


if __name__ == "__main__":
    sys.exit(main())
