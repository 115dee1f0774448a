"""The one door to logging: JSON lines on stderr, one record a line whatever a visitor got into it.

Of the standard library alone: structured logging of others brings a terminal's colours and tables into every
program, which was a good part of its start.
"""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from edgeward.errors import Invalid

_LONGEST_TEXT = 8192
_NOISY = {
    "aiosqlite": "info",
    "alembic": "warning",
    "httpcore": "warning",
    "httpx": "warning",
    "uvicorn": "warning",
}
"""Libraries that say more than people need; what matters ours say themselves, with the right fields."""
_FIELDS: Final = "edgeward_fields"
"""The attribute of a record that holds what was given by keyword."""


def level_of(environment: Mapping[str, str]) -> str:
    """Give how much is to be said; raises Invalid."""
    level = environment.get("EDGEWARD_LOG_LEVEL", "").lower() or "info"
    if level not in ("debug", "info", "warning", "error"):
        raise Invalid("EDGEWARD_LOG_LEVEL is one of debug, info, warning and error")
    return level


def set_up(program: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Send everything logged in this process, libraries included, to ``stream`` (stderr) as JSON lines.

    A line has ``time`` (ISO 8601, UTC), ``level``, ``program``, ``logger``, ``event`` and then the
    record's own fields.
    """
    logging.raiseExceptions = False  # a full or closed stderr must not end a program
    handler = logging.StreamHandler(stream or _unbuffered(sys.stderr))
    handler.setFormatter(_Lines(program))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _NOISY.items():
        logging.getLogger(name).setLevel(least.upper())


def _unbuffered(stream: TextIO) -> TextIO:
    """Without a buffer: it would keep what a full disk refused, and have the program end with 120."""
    raw = io.FileIO(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


class Logger:
    """Call as ``log.info("certificate obtained", name=name)``, fields as keywords."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, **fields: Any) -> None:
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, /, *, exc_info: BaseException | None = None, **fields: Any) -> None:
        self._log(logging.ERROR, event, fields, exc_info)

    def exception(self, event: str, /, **fields: Any) -> None:
        """Log an error with the exception that is being handled."""
        self._log(logging.ERROR, event, fields, sys.exception())

    def _log(
        self, level: int, event: str, fields: Mapping[str, Any], error: BaseException | None = None
    ) -> None:
        self._logger.log(level, event, exc_info=error, extra={_FIELDS: fields})


def logger(name: str) -> Logger:
    return Logger(name)


class _Lines(logging.Formatter):
    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, _FIELDS, {}))
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        line = fields | {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "program": self._program,
            "logger": record.name,
            "event": record.getMessage(),
        }
        bounded = {key: _bounded(line[key]) for key in (*_FIRST, *(k for k in fields if k not in _FIRST))}
        # ensure_ascii escapes all controls, C1 and bidirectional ones included; DEL is the one it leaves
        return json.dumps(bounded, default=str, skipkeys=True).replace("\x7f", "\\u007f")


_FIRST: Final = ("time", "level", "program", "logger", "event")


def _bounded(value: Any) -> Any:
    return value[:_LONGEST_TEXT] + "…" if isinstance(value, str) and len(value) > _LONGEST_TEXT else value
