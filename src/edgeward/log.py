"""The one door to logging: JSON lines on stderr, one record a line whatever a visitor got into it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor, WrappedLogger

_LONGEST_TEXT = 8192
_NOISY = {
    "aiosqlite": "info",
    "alembic": "warning",
    "httpcore": "warning",
    "httpx": "warning",
    "uvicorn": "warning",
}
"""Libraries that say more than people need; what matters ours say themselves, with the right fields."""


def set_up(program: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Send everything logged in this process, libraries included, to ``stream`` (stderr) as JSON lines.

    A line has ``time`` (ISO 8601, UTC), ``level``, ``program``, ``logger``, ``event`` and then the
    record's own fields.
    """
    logging.raiseExceptions = False  # a full or closed stderr must not end a program
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_formatter(program))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _NOISY.items():
        logging.getLogger(name).setLevel(least.upper())


def logger(name: str) -> FilteringBoundLogger:
    """Give a logger; call as ``log.info("certificate obtained", name=name)``, fields as keywords."""
    found: FilteringBoundLogger = structlog.get_logger(name)
    return found


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _formatter(program: str) -> structlog.stdlib.ProcessorFormatter:
    def named(_: WrappedLogger, __: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        record["program"] = program
        return record

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, named, _bounded, _line],
    )


def _bounded(_: WrappedLogger, __: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in record.items():
        if isinstance(value, str) and len(value) > _LONGEST_TEXT:
            record[key] = value[:_LONGEST_TEXT] + "…"
    return record


def _line(_: WrappedLogger, __: str, record: MutableMapping[str, Any]) -> str:
    first = {k: record.pop(k) for k in ("time", "level", "program", "logger", "event") if k in record}
    # ensure_ascii escapes all controls, C1 and bidirectional ones included; DEL is the one it leaves
    return json.dumps({**first, **record}, default=str, skipkeys=True).replace("\x7f", "\\u007f")
