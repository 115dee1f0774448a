"""Many names asked about in one statement are too many for some databases: SQLite binds 32,766 values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

MOST: Final = 500
_Item = TypeVar("_Item")


def in_parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Give them in their order, as many at a time as one statement asks about."""
    return (items[start : start + MOST] for start in range(0, len(items), MOST))
