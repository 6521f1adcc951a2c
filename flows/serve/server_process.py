"""`python -m flows.serve.server_process ...`: a Prefect server that ends with the program that started it, however that dies.

The arguments are those of `prefect`; the process is the first of its own session.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

# Process id of the program that serves.
PARENT_VARIABLE = "SERVED_BY_MAT2SPEC"
_POLL_SECONDS = 0.5
_SECONDS_TO_END = 10.0


def end_with(parent: int) -> None:
    """Wait until the parent is gone, then end this session: in order, and by force if that takes too long."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.killpg(0, signal.SIGTERM)
    time.sleep(_SECONDS_TO_END)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(int(os.environ[PARENT_VARIABLE]),), daemon=True).start()
    sys.argv[0] = "prefect"
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
