"""How a declared connection does: what its node said of it, or why nobody said anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from edgeward.vpn.desired import Connection, DriverName, Gateway
from edgeward.vpn.driver import Handover, Keyed, State
from edgeward.vpn.heard import STANDBY, Daemon, Held

Phase = Literal["active", "connecting", "down", "disabled", "error", "waiting"]
"""As drivers say it; ``waiting``: declared, and no node said anything of it yet."""
WAITING: Final = "waiting"
ENDED: Final = "it was ended here, and nothing began it since"
_UNBEGUN: Final = "its peer is to begin it, and has not"
_HANGS: Final = "does not answer within"
"""What drivers say of a daemon that lives and is silent."""
_ROOTD: Final = "/run/edgeward-rootd"
"""Where rootd keeps its things unless told otherwise."""


@dataclass(frozen=True)
class Site:
    """A declared connection, and the gateway that carries it."""

    gateway: Gateway
    connection: Connection

    @property
    def project(self) -> str:
        return self.connection.name.partition("/")[0]

    @property
    def name(self) -> str:
        return self.connection.name.partition("/")[2]


@dataclass(frozen=True)
class Status:
    """``since`` is None where nobody knows. ``heard``: when its node said so, in Unix seconds.

    ``fresh``: that node is there now. ``reason`` says why it is not up, ``remedy`` what to do.
    """

    phase: Phase
    since: float | None = None
    reason: str = ""
    remedy: str = ""
    node: str | None = None
    heard: float | None = None
    fresh: bool = False
    peer_address: str = ""
    algorithms: str = ""
    reauthenticates_at: float | None = None
    children: tuple[Keyed, ...] = ()
    daemon: Daemon | None = None
    handover: Handover | None = None
    local_address: str = ""
    """Which its node speaks to the peer from; blank where that is not known."""
    driver: str = ""
    """Whose daemon has it: not the declared one where that could not take over; blank: nobody knows."""

    @property
    def up(self) -> bool:
        return self.phase == "active" and self.fresh


def sites(gateways: Iterable[Gateway]) -> Iterator[Site]:
    for gateway in gateways:
        for connection in gateway.connections:
            yield Site(gateway, connection)


def status(
    site: Site, held: Held | None, daemons: Sequence[Daemon], connected: Callable[[str], bool]
) -> Status:
    """Join what is declared with what was heard. ``daemons`` are those of its gateway."""
    if not site.connection.enabled:
        return Status("disabled", reason="it is declared with enabled: false", remedy="set enabled: true")
    if held is None:
        return _unheard(site, daemons, connected)
    said, fresh = held.state, connected(held.node)
    daemon = next((one for one in daemons if one.node == held.node), None)
    if daemon is not None and daemon.phase == "down" and said.phase == "active":
        said = said.model_copy(update={"phase": "down", "since": daemon.since})  # nobody can tell any more
    driver = said.driver or ("" if daemon is None else carrying(site.gateway, daemon))
    reason, remedy = said.reason, said.remedy
    if not fresh:
        reason = f"node {held.node} is not connected; the tunnel was {said.phase} when it was heard of last"
        remedy = f"see that node {held.node} runs and reaches this controller: edgeward status"
    elif daemon is not None and (daemon.phase == "down" or daemon.reason):
        reason, remedy = _troubled(site, daemon, driver)
    else:
        reason, remedy = _explained(site, said)
    return Status(
        said.phase,
        said.since,
        reason,
        remedy,
        held.node,
        held.at,
        fresh,
        said.peer_address or site.connection.peer_address,
        said.algorithms,
        said.reauthenticates_at,
        said.children,
        daemon,
        said.handover,
        said.local_address,
        driver,
    )


def seen(site: Site, how: Status, state: State, now: float) -> Status:
    """Give how a connection does that its node looked at this moment."""
    reason, remedy = _explained(site, state)
    driver = state.driver or how.driver
    if not reason and how.daemon is not None and how.daemon.reason:
        reason, remedy = _troubled(site, how.daemon, driver)
    return replace(
        how,
        phase=state.phase,
        since=state.since,
        reason=reason,
        remedy=remedy,
        heard=now,
        peer_address=state.peer_address or how.peer_address,
        algorithms=state.algorithms,
        reauthenticates_at=state.reauthenticates_at,
        children=state.children,
        local_address=state.local_address or how.local_address,
        driver=driver,
    )


def carrying(gateway: Gateway, daemon: Daemon) -> DriverName:
    """Give which daemon it is that runs where its node, of the version before, does not say so: not the
    declared one where that could not take over."""
    if not daemon.reason.startswith(f"{gateway.driver} cannot take over"):
        return gateway.driver
    return "strongswan" if gateway.driver == "libreswan" else "libreswan"


def _explained(site: Site, said: State) -> tuple[str, str]:
    """Give why it is so, and what to do: of what a daemon was told to do it gives no reason."""
    if said.phase != "down" or said.reason:
        return said.reason, said.remedy
    reason = ENDED if site.connection.initiator else _UNBEGUN
    return reason, f"edgeward vpn initiate {site.name}, which says why where it does not come up"


def _unheard(site: Site, daemons: Sequence[Daemon], connected: Callable[[str], bool]) -> Status:
    there = sorted((d for d in daemons if connected(d.node)), key=lambda d: d.phase == STANDBY)
    if not there:
        reason = "it waits for a node: none has said that it carries it"
        remedy = "see with edgeward status that a node is connected which its nodes selector allows, as root"
        return Status(WAITING, reason=reason, remedy=remedy)
    daemon = there[0]
    if daemon.phase == "down" or daemon.reason:
        reason, remedy = _troubled(site, daemon, carrying(site.gateway, daemon))
        return Status("down", daemon.since, reason, remedy, daemon.node, daemon.at, True, daemon=daemon)
    reason = f"the daemon of its gateway is {daemon.phase} on node {daemon.node}"
    remedy = "wait some seconds and ask again"
    return Status(WAITING, daemon.since, reason, remedy, daemon.node, daemon.at, True, daemon=daemon)


def _troubled(site: Site, daemon: Daemon, driver: str) -> tuple[str, str]:
    why = f": {daemon.reason}" if daemon.reason else ""
    reason = f"the daemon of its gateway is {daemon.phase} on node {daemon.node}{why}"
    if daemon.phase == "running":
        reason = f"its gateway is not as it should be on node {daemon.node}{why}"
    if daemon.phase == "running" and driver != site.gateway.driver:
        return reason, (
            "see to what it says, or stay with the daemon that carries it:"
            f" edgeward vpn migrate {site.name} --driver {driver}"
        )
    if _HANGS in daemon.reason:
        namespace = site.gateway.namespace or f"vpn-{site.gateway.id}"
        end = f"kill -9 $(cut -d' ' -f1 {_ROOTD}/vpn/{namespace}/daemon)"
        return reason, (
            "wait a minute: one that is busy answers again; else end it,"
            f" as root on node {daemon.node}: {end}; the node starts another, and its tunnels come up again"
        )
    return reason, (
        f"see to what it says; node {daemon.node} tries again by itself, and its log and"
        f" edgeward explain node/{daemon.node} tell more"
    )
