"""What went wrong, as it is kept and shown: a bounded line, whatever somebody else put into it."""

from __future__ import annotations

from typing import Final

UNFORESEEN: Final = "it failed in a way nobody thought of; the controller's log tells how"
_LONGEST: Final = 500


def one_line(text: str) -> str:
    """Give it without what no database stores and no terminal shows."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST].rstrip()
