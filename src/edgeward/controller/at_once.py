"""How many times each token does something that lasts, and that it may not do it more often at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from edgeward.access.model import Principal
from edgeward.errors import Unavailable


class OpenAtOnce:
    """``does`` says what is counted, as in "this token waits"; ``most`` bounds it for each token."""

    def __init__(self, does: str, most: int) -> None:
        self._does = does
        self._most = most
        self._open: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self._open.total()

    def check(self, who: Principal) -> None:
        """Raise Unavailable where one more would be too many."""
        if self._open[who.token_id] >= self._most:
            raise Unavailable(f"this token {self._does} {self._most} times already; let one of them end")

    @contextmanager
    def counted(self, who: Principal) -> Iterator[None]:
        """Count one for as long as it lasts."""
        self._open[who.token_id] += 1
        try:
            yield
        finally:
            self._open[who.token_id] -= 1
            self._open += Counter()  # keeps those above zero
