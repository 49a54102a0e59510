"""The project's definitions; in the process of a run that a daemon launched, its stores are announced."""

import multiprocessing
import os

from quantbot_pipeline.definitions import defs as defs
from tests.faults.moments import Announcer, announce_stores

_listener = os.environ.get("FAULT_LISTENER")
# A run is a child of the server that loaded the code; that server itself announces nothing.
if _listener is not None and multiprocessing.parent_process() is not None:
    _announcer = Announcer(_listener)
    _announcer.step = "run"
    announce_stores(_announcer)
