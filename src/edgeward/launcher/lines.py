"""Log lines of the launcher: one JSON object each on stderr, like those of all other programs."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal


def say(level: Literal["info", "warning", "error"], event: str, **fields: str | float | None) -> None:
    line = {
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "level": level,
        "program": "launcher",
        "logger": "edgeward.launcher",
        "event": event,
        **fields,
    }
    with suppress(OSError, ValueError):  # a full or closed stderr must not end Envoy
        sys.stderr.write(json.dumps(line).replace("\x7f", "\\u007f") + "\n")
        sys.stderr.flush()
