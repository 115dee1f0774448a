"""What a daemon is asked for, whichever it is: one ``Driver`` for each gateway's daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, Protocol

from edgeward.vpn.desired import Connection, Desired

Phase = Literal["active", "connecting", "down", "disabled", "error"]
"""``active``: a CHILD_SA is installed. ``error``: it cannot come up as declared, ``reason`` says why."""
Effect = Literal["none", "secret", "child", "ike"]
"""What a change costs live traffic: nothing; authentication anew; a new CHILD_SA; a new IKE_SA."""


Line = tuple[float, str]
"""Unix time, and what a daemon wrote into its log then."""


class Keyed(Desired):
    """One pair of networks that is carried now."""

    local: tuple[str, ...]
    peer: tuple[str, ...]
    spi_in: str = ""
    spi_out: str = ""
    """Hexadecimal."""
    algorithms: str = ""
    """As the daemon says: ``AES_GCM_16-256``."""
    bytes_in: int = 0
    bytes_out: int = 0
    packets_in: int = 0
    packets_out: int = 0
    since: float = 0.0
    """Unix time of its installation."""
    rekeys_at: float | None = None


class Handover(Desired):
    """What it cost that another daemon took over."""

    at: float
    """When the former one ended, in Unix seconds."""
    seconds: float
    """From then until all that was up was up by the other one."""
    dropped: int
    """Packets that the kernel of the gateway dropped meanwhile for want of keys or policies that fit."""
    carried: bool
    """The former keys went on carrying until then; not where a daemon does ESP itself."""


class State(Desired):
    """How one connection does; ``reason`` is a sentence with its cause, ``remedy`` one with what to do."""

    connection: str
    phase: Phase
    since: float
    """Unix time."""
    reason: str = ""
    remedy: str = ""
    peer_address: str = ""
    algorithms: str = ""
    """Of the IKE_SA."""
    reauthenticates_at: float | None = None
    children: tuple[Keyed, ...] = ()
    handover: Handover | None = None
    """The last one since its node's program began."""
    local_address: str = ""
    """Which its node speaks to the peer from; blank: nobody knows, or it is a node of the version before."""
    driver: str = ""
    """Whose daemon has it, as its node says; blank as above."""


class Driver(Protocol):
    """One daemon. Every call has a bound in time, raises Unavailable where the daemon does not answer, and
    does no harm when done twice."""

    async def loaded(self) -> frozenset[str]:
        """Give the ids of the connections that the daemon knows."""

    async def load(self, connection: Connection, before: Connection | None, *, initiate: bool) -> None:
        """Have the daemon know it as it is; touches only what differs from ``before`` (None: unknown).

        Raises Invalid where the daemon does not take it; then what was before is still there.
        """

    async def unload(self, connection: str) -> None:
        """End its tunnels and forget it, its secret too."""

    async def initiate(self, connection: str) -> None:
        """Have it come up; raises Unavailable with the reason where it does not."""

    async def terminate(self, connection: str) -> None:
        """End its tunnels; it stays known."""

    async def states(self) -> Mapping[str, State]:
        """Give how each of the loaded ones does, by id."""

    async def answers(self) -> None:
        """See, as cheaply as can be, that the daemon is not stuck; raises Unavailable where it is."""

    def events(self) -> AsyncIterator[str]:
        """Yield the id of a connection whenever its state may be another; ends when the daemon ends."""

    async def lines(self, connection: str, last: int) -> Sequence[Line]:
        """Give the newest lines of the daemon's log that are about one, the oldest first; no secret is in
        them. How far back they go is the driver's to say."""

    def beside(self, *, left: bool) -> None:
        """Say whether the kernel has what a former daemon left, which is not to be touched before something
        takes its place."""

    async def verbosity(self, level: int) -> None:
        """Have the daemon write -1 (nothing) to 4 (everything) into its log."""

    async def close(self) -> None:
        """Let go of the daemon, which goes on."""
