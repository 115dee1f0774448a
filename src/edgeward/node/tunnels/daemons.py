"""IKE daemons of this host: found where they run, started where they do not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

from edgeward.errors import Unavailable
from edgeward.node.tunnels.root import Root
from edgeward.vpn.desired import Connection, DriverName
from edgeward.vpn.driver import Driver

Known = Iterable[Connection]
"""Connections as they were last loaded."""
_LEVEL: Final = 1


class Daemons(Protocol):
    async def found(self, namespace: str, driver: DriverName, known: Known) -> Driver | None:
        """Give the daemon that runs in a namespace, None where none answers."""

    async def start(self, namespace: str, driver: DriverName, known: Known) -> Driver:
        """Give it, started where it does not run; raises Unavailable."""

    async def stop(self, namespace: str) -> None:
        """End it, if there is one; raises Unavailable."""


Open = Callable[[Path, str, Known, Root], Awaitable[Driver]]


class Rootd:
    """Those that rootd starts; ``place`` is its directory, with the sockets of daemons below ``vpn``."""

    def __init__(self, root: Root, place: Path) -> None:
        self._root = root
        self._place = place / "vpn"

    async def found(self, namespace: str, driver: DriverName, known: Known) -> Driver | None:
        kind = _KINDS.get(driver)
        if kind is None or not (self._place / namespace / kind[1]).exists():
            return None
        try:
            return await kind[2](self._place / namespace / kind[1], namespace, known, self._root)
        except Unavailable:
            return None

    async def start(self, namespace: str, driver: DriverName, known: Known) -> Driver:
        kind = _KINDS.get(driver)
        if kind is None:
            raise Unavailable(f"this node has no driver {driver}; choose strongswan or libreswan")
        level = {"level": _LEVEL} if driver == "strongswan" else {}
        await self._root.do(kind[0], namespace=namespace, **level)
        return await kind[2](self._place / namespace / kind[1], namespace, known, self._root)

    async def stop(self, namespace: str) -> None:
        await self._root.do("stop-daemon", namespace=namespace)


async def _strongswan(socket: Path, namespace: str, known: Known, root: Root) -> Driver:
    from edgeward.vpn.drivers.strongswan.driver import opened  # costs a start what nobody may need

    async def level(number: int) -> None:
        await root.do("start-charon", namespace=namespace, level=number)

    return await opened(socket, known, level)


async def _libreswan(socket: Path, namespace: str, known: Known, root: Root) -> Driver:
    from edgeward.vpn.drivers.libreswan.driver import opened

    return await opened(socket.parent, known)


_KINDS: Final[dict[str, tuple[str, str, Open]]] = {
    "strongswan": ("start-charon", "charon.vici", _strongswan),
    "libreswan": ("start-pluto", "pluto.ctl", _libreswan),
}
"""The action that starts it, its socket's name, and how it is opened."""
