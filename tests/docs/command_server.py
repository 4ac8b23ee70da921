"""Runs `assetline` commands, each in a forked process, so that pages with many commands import pandas only once.

A request is one JSON line on stdin, the answer one on stdout:

    {"arguments": ["plan"], "folder": "/tmp/x", "environment": {}}  ->  {"code": 0, "stdout": "...", "stderr": "..."}

Nothing of a project is imported before the fork: a command sees what it would see in a process of its own.
"""

import json
import os
import sys
import tempfile
import time
from typing import Any, NoReturn


def main() -> None:
    """Import what commands import, then answer requests until stdin ends."""
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import pydantic  # noqa: F401
    import rich.progress  # noqa: F401
    import sqlalchemy  # noqa: F401

    import assets_core.session  # noqa: F401
    import ui.cli.main  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _answer(request: dict[str, Any]) -> dict[str, object]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if not pid:
            _run(request, out.fileno(), err.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        code = 128 - code if code < 0 else code  # as a shell tells it
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return {"code": code, "stdout": texts[0], "stderr": texts[1]}


def _run(request: dict[str, Any], out: int, err: int) -> NoReturn:
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        time.tzset()
        from ui.cli.main import cli

        try:
            cli.main(request["arguments"])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
