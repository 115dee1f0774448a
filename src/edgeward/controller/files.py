"""Small files with secrets in the state directory: replaced whole, readable by their owner only."""

from __future__ import annotations

import os
from pathlib import Path

from edgeward.errors import Unavailable


def write_secret(path: Path, text: str) -> None:
    """Write so that a reader sees the old or the new content, and a power cut leaves one of them."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        remedy = "see that its disk has space and that this user may write there"
        raise Unavailable(f"{path}: {error.strerror}; {remedy}") from error


def read_text(path: Path) -> str | None:
    """Give the content, or None where there is nothing to be read."""
    try:
        return path.read_text()
    except (OSError, ValueError):
        return None
