"""In which phase a connection is, from what any daemon says of it, and since when it is in that one."""

from __future__ import annotations

from edgeward.vpn.desired import Connection
from edgeward.vpn.driver import Phase


def phase(connection: Connection, *, carries: bool, wrong: bool, coming: bool) -> Phase:
    """``wrong``: something is found that does not pass by itself; ``coming``: it is tried, or tried again."""
    if not connection.enabled:
        return "disabled"
    if carries:
        return "active"
    if wrong:
        return "error"
    return "connecting" if coming else "down"


class Phases:
    """Remembers since when each connection is in its phase."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[Phase, float]] = {}

    def forget(self, connection: str) -> None:
        self._since.pop(connection, None)

    def since(self, connection: str, phase: Phase, now: float, at_first: float | None = None) -> float:
        """Give when its phase began: ``now`` where it is another one than the last time, and ``at_first``, if
        that is known, where this is the first time."""
        before = self._since.get(connection)
        if before is None or before[0] != phase:
            began = at_first if before is None and at_first is not None else now
            self._since[connection] = before = phase, began
        return before[1]
