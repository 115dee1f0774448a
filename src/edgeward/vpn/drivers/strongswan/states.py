"""How a connection does, from what charon lists and what was heard."""

from __future__ import annotations

from collections.abc import Sequence

from edgeward.vpn.desired import Connection
from edgeward.vpn.driver import State
from edgeward.vpn.drivers import phases
from edgeward.vpn.drivers.phases import Phases
from edgeward.vpn.drivers.strongswan import reasons
from edgeward.vpn.drivers.strongswan.sas import IkeSa


class States:
    """Remembers since when each is in its phase."""

    def __init__(self) -> None:
        self._phases = Phases()

    def forget(self, connection: str) -> None:
        self._phases.forget(connection)

    def of(
        self, connection: Connection, sas: Sequence[IkeSa], finding: reasons.Finding | None,
        waits: bool, mark: float, now: float,
    ) -> State:  # fmt: skip
        """``sas``: between its peers. ``waits``: it is tried again. ``mark``: when it last changed."""
        mine = [(sa, child) for sa in sas for child in sa.of(connection.id) if child.carries]
        wrong = finding is not None and finding.kind not in reasons.SOFT
        coming = waits or any(sa.coming for sa in sas)
        phase = phases.phase(connection, carries=bool(mine), wrong=wrong, coming=coming)
        reason, remedy = "", ""
        if finding is not None and phase not in ("active", "disabled"):
            reason, remedy = reasons.told(finding, connection, now)
        newest = max((sa for sa, _ in mine), key=lambda sa: sa.since, default=None)
        return State(
            connection=connection.id,
            phase=phase,
            since=self._phases.since(connection.id, phase, min(mark, now), newest.since if newest else None),
            reason=reason,
            remedy=remedy,
            peer_address=newest.peer if newest else "",
            algorithms=newest.algorithms if newest else "",
            reauthenticates_at=newest.renewed_at if newest else None,
            children=tuple(child.keyed for _, child in mine),
        )
