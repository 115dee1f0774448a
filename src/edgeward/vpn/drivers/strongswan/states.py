"""How a connection does, from what charon lists and what was heard."""

from __future__ import annotations

from collections.abc import Sequence

from edgeward.vpn.desired import Connection
from edgeward.vpn.driver import Phase, State
from edgeward.vpn.drivers.strongswan import reasons
from edgeward.vpn.drivers.strongswan.sas import IkeSa


class States:
    """Remembers since when each is in its phase."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[Phase, float]] = {}

    def forget(self, connection: str) -> None:
        self._since.pop(connection, None)

    def of(
        self, connection: Connection, sas: Sequence[IkeSa], finding: reasons.Finding | None,
        waits: bool, mark: float, now: float,
    ) -> State:  # fmt: skip
        """``sas``: between its peers. ``waits``: it is tried again. ``mark``: when it last changed."""
        mine = [(sa, child) for sa in sas for child in sa.of(connection.id) if child.carries]
        phase = _phase(connection, bool(mine), sas, finding, waits)
        reason, remedy = "", ""
        if finding is not None and phase not in ("active", "disabled"):
            reason, remedy = reasons.told(finding, connection, now)
        newest = max((sa for sa, _ in mine), key=lambda sa: sa.since, default=None)
        return State(
            connection=connection.id,
            phase=phase,
            since=self._began(connection.id, phase, newest, mark, now),
            reason=reason,
            remedy=remedy,
            peer_address=newest.peer if newest else "",
            algorithms=newest.algorithms if newest else "",
            reauthenticates_at=newest.renewed_at if newest else None,
            children=tuple(child.keyed for _, child in mine),
        )

    def _began(self, connection: str, phase: Phase, sa: IkeSa | None, mark: float, now: float) -> float:
        before = self._since.get(connection)
        if before is None or before[0] != phase:
            found = sa.since if before is None and sa is not None else min(mark, now)
            self._since[connection] = before = phase, found
        return before[1]


def _phase(
    connection: Connection, carries: bool, sas: Sequence[IkeSa], finding: reasons.Finding | None, waits: bool
) -> Phase:
    if not connection.enabled:
        return "disabled"
    if carries:
        return "active"
    if finding is not None and finding.kind not in reasons.SOFT:
        return "error"
    return "connecting" if waits or any(sa.coming for sa in sas) else "down"
