"""The logger that a step hands to the asset's function."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LogSink = Callable[[float, str, str], None]


class StepLogger(logging.Logger):
    """An ordinary `logging.Logger` whose lines go to the run's log, with epoch seconds and level name."""

    def __init__(self, name: str, sink: LogSink) -> None:
        super().__init__(name, logging.DEBUG)
        self.propagate = False
        self.addHandler(_SinkHandler(sink))


class _SinkHandler(logging.Handler):
    def __init__(self, sink: LogSink) -> None:
        super().__init__()
        self._sink = sink
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._sink(record.created or time.time(), record.levelname.lower(), self.format(record))
