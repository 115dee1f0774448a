"""How a connection does, from what pluto says of its sections and what was read in its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeward.vpn.desired import Connection
from edgeward.vpn.driver import Keyed, Phase, State
from edgeward.vpn.drivers.libreswan import reasons, text
from edgeward.vpn.drivers.libreswan.status import Sa, Section


class States:
    """Remembers since when each is in its phase."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[Phase, float]] = {}

    def forget(self, connection: str) -> None:
        self._since.pop(connection, None)

    def of(
        self, connection: Connection, sections: Sequence[Section], finding: reasons.Finding | None,
        waits: bool, now: float,
    ) -> State:  # fmt: skip
        """``waits``: it is tried again."""
        carrying = [(one, one.child) for one in sections if one.child is not None]
        phase = _phase(connection, sections, finding, waits)
        reason, remedy = "", ""
        if finding is not None and phase not in ("active", "disabled"):
            reason, remedy = reasons.told(finding, connection, now)
        first = carrying[0] if carrying else None
        ends_in = first[0].ike_ends_in if first else None
        pairs = {text.name(connection.id, pair): pair for pair in text.pairs(connection)}
        return State(
            connection=connection.id,
            phase=phase,
            since=self._began(connection.id, phase, [child for _, child in carrying], now),
            reason=reason,
            remedy=remedy,
            peer_address=first[1].peer if first else "",
            algorithms=first[0].ike_algorithms if first else "",
            reauthenticates_at=None if ends_in is None else now + ends_in,
            children=tuple(_keyed(one, child, pairs, now) for one, child in carrying),
        )

    def _began(self, connection: str, phase: Phase, children: Sequence[Sa], now: float) -> float:
        before = self._since.get(connection)
        if before is None or before[0] != phase:
            found = min((child.since for child in children if child.since), default=now)
            self._since[connection] = before = phase, min(found, now)
        return before[1]


def _phase(
    connection: Connection, sections: Sequence[Section], finding: reasons.Finding | None, waits: bool
) -> Phase:
    if not connection.enabled:
        return "disabled"
    if any(one.child is not None for one in sections):
        return "active"
    if finding is not None and finding.kind not in reasons.SOFT:
        return "error"
    return "connecting" if waits or any(one.coming for one in sections) else "down"


def _keyed(section: Section, child: Sa, pairs: Mapping[str, tuple[str, str]], now: float) -> Keyed:
    local, peer = pairs.get(section.name, ("", ""))
    return Keyed(
        local=(local,) if local else (),
        peer=(peer,) if peer else (),
        spi_in=child.spi_in,
        spi_out=child.spi_out,
        algorithms=section.algorithms,
        bytes_in=child.bytes_in,
        bytes_out=child.bytes_out,
        since=child.since or now,
        rekeys_at=None if child.rekeys_in is None else now + child.rekeys_in,
    )
