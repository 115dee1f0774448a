"""Small files with secrets in the state directory: replaced whole, readable by their owner only."""

from __future__ import annotations

from pathlib import Path

from edgeward import durable
from edgeward.errors import Unavailable


def write_secret(path: Path, text: str) -> None:
    """Write so that a reader sees the old or the new content, and a power cut leaves one of them."""
    try:
        durable.replace(path, text.encode())
    except OSError as error:
        remedy = "see that its disk has space and that this user may write there"
        raise Unavailable(f"{path}: {error.strerror}; {remedy}") from error


def read_text(path: Path) -> str | None:
    """Give the content, or None where there is nothing to be read."""
    try:
        return path.read_text()
    except (OSError, ValueError):
        return None
