"""A process of a local Dask cluster: `python -m assets_core.executors.dask_process scheduler|worker ARGUMENT...`.

It runs Dask's own command, and ends when its standard input does: together with the process that started it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

_CLEAN_UP_S = 5.0


def _end_with_stdin() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_CLEAN_UP_S)
    os._exit(1)


def main(arguments: Sequence[str]) -> None:
    """Run the named command of Dask; does not return."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    role, *rest = arguments
    if role == "scheduler":
        from distributed.cli.dask_scheduler import main as run
    else:
        from distributed.cli.dask_worker import main as run
    run(rest)


if __name__ == "__main__":
    main(sys.argv[1:])
