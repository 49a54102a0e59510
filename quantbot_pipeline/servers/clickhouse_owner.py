"""The process that owns the embedded ClickHouse: opens the engine and serves it until SIGTERM.

Started by `clickhouse_server.py` as `python -m quantbot_pipeline.servers.clickhouse_owner DIRECTORY`.
"""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from quantbot_pipeline.servers.clickhouse_bodies import ClickHouseError
from quantbot_pipeline.servers.clickhouse_engine import Engine
from quantbot_pipeline.servers.clickhouse_http import USER, ClickHouseServer
from quantbot_pipeline.servers.clickhouse_layout import ClickHouseLayout, OwnerState
from quantbot_pipeline.servers.clickhouse_reader import READER
from quantbot_pipeline.servers.processes import ProcessIdentity, ensure_password

logger = logging.getLogger(__name__)

_LAST_REQUESTS_SECONDS = 10.0
_HOME_CHECK_SECONDS = 5.0


def main(directory: Path) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(level=logging.INFO, format="%(asctime)sZ %(levelname)s %(message)s")
    layout = ClickHouseLayout(directory)
    stop = threading.Event()
    try:
        engine = Engine(layout.data_directory, layout.spool_directory)
    except ClickHouseError as error:
        # Its text says all; the trace of this program adds nothing.
        logger.error("the engine does not open %s: %s", layout.data_directory, error.text)  # noqa: TRY400
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):  # after the engine, which sets handlers of its own
        signal.signal(number, lambda *_: stop.set())
    server = _listen(layout, engine)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    serving.start()
    port = server.server_address[1]
    process = ProcessIdentity.of_this_process()
    OwnerState(process, port, engine.version).write(layout.state_file)
    logger.info("ClickHouse %s serves %s on 127.0.0.1:%d", engine.version, layout.data_directory, port)
    while not stop.wait(_HOME_CHECK_SECONDS):
        current = OwnerState.read(layout.state_file)
        if current is None or current.process != process:
            # Serving files that nobody can find again would only keep the port and the memory.
            logger.warning("the state file is gone or another's: the home was removed; stopping")
            break
    logger.info("stopping")
    server.shutdown()
    server.server_close()
    if server.wait_until_idle(_LAST_REQUESTS_SECONDS):
        engine.close()
        logger.info("closed")
    else:
        # Closing under a running request would crash; what was acknowledged is in files already.
        logger.warning("requests still ran after %.0f s; leaving without a clean close", _LAST_REQUESTS_SECONDS)
    logging.shutdown()
    os._exit(0)  # threads of idle connections and of the engine are not worth waiting for


def _listen(layout: ClickHouseLayout, engine: Engine) -> ClickHouseServer:
    """Listen on the port of the last time, so that clients of before a crash find the server again."""
    passwords = {
        USER: layout.password_file.read_text().strip(),
        READER: ensure_password(layout.reader_password_file),
    }
    last = OwnerState.read(layout.state_file)
    if last is not None:
        try:
            return ClickHouseServer(last.port, engine, passwords, layout.spool_directory)
        except OSError:
            logger.info("port %d is taken by now; taking another", last.port)
    return ClickHouseServer(0, engine, passwords, layout.spool_directory)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
