"""How a connection does, from what pluto says of its sections and what was read in its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeward.vpn.desired import Connection
from edgeward.vpn.driver import Keyed, State
from edgeward.vpn.drivers import phases
from edgeward.vpn.drivers.libreswan import reasons, text
from edgeward.vpn.drivers.libreswan.status import Sa, Section
from edgeward.vpn.drivers.phases import Phases


class States:
    """Remembers since when each is in its phase."""

    def __init__(self) -> None:
        self._phases = Phases()

    def forget(self, connection: str) -> None:
        self._phases.forget(connection)

    def of(
        self, connection: Connection, sections: Sequence[Section], finding: reasons.Finding | None,
        waits: bool, now: float,
    ) -> State:  # fmt: skip
        """``waits``: it is tried again."""
        carrying = [(one, one.child) for one in sections if one.child is not None]
        wrong = finding is not None and finding.kind not in reasons.SOFT
        coming = waits or any(one.coming for one in sections)
        phase = phases.phase(connection, carries=bool(carrying), wrong=wrong, coming=coming)
        reason, remedy = "", ""
        if finding is not None and phase not in ("active", "disabled"):
            reason, remedy = reasons.told(finding, connection, now)
        began = [child.since for _, child in carrying if child.since]
        first = carrying[0] if carrying else None
        ends_in = first[0].ike_ends_in if first else None
        pairs = {text.name(connection.id, pair): pair for pair in text.pairs(connection)}
        return State(
            connection=connection.id,
            phase=phase,
            since=self._phases.since(connection.id, phase, min([now, *began])),
            reason=reason,
            remedy=remedy,
            peer_address=first[1].peer if first else "",
            algorithms=first[0].ike_algorithms if first else "",
            reauthenticates_at=None if ends_in is None else now + ends_in,
            children=tuple(_keyed(one, child, pairs, now) for one, child in carrying),
        )


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
