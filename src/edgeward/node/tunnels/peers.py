"""Follows the names of peers: a connection goes to the address that its peer's name has now.

An address is kept as long as the name still has it. What was loaded last is what is believed until DNS
answers, so that a restart disturbs nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from edgeward.errors import EdgewardError
from edgeward.log import logger
from edgeward.node.backends.resolver import Names
from edgeward.vpn.desired import Connection, Gateway

log = logger(__name__)
_FLOOR_SECONDS, _CAP_SECONDS, _RETRY_SECONDS = 1.0, 300.0, 5.0
_AT_ONCE: Final = 20


@dataclass
class _Name:
    addresses: tuple[str, ...] = ()
    due: float = float("-inf")


class Peers:
    """``changed()`` is called when a name has other addresses than before."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._followed: dict[str, _Name] = {}
        self._last: dict[str, str] = {}
        """The address of each connection whose peer has a name, by id."""
        self._named: dict[str, str] = {}
        self._due = asyncio.Event()
        self.changed: Callable[[], None] = lambda: None

    def remember(self, loaded: Iterable[Connection]) -> None:
        """Take in how connections were loaded last."""
        self._last |= {one.id: one.peer_address for one in loaded if not _is_name(one.peer_address)}

    def followed(self, gateways: Iterable[Gateway]) -> list[Gateway]:
        """Give gateways with the addresses that their peers have now; what nobody knows yet stays a name."""
        found = list(gateways)
        wanted = {one.peer_address for g in found for one in g.connections if _is_name(one.peer_address)}
        for name in self._followed.keys() - wanted:
            del self._followed[name]
        there = {one.id for gateway in found for one in gateway.connections}
        for of_each in (self._last, self._named):
            for gone in of_each.keys() - there:
                del of_each[gone]
        for name in wanted - self._followed.keys():
            self._followed[name] = _Name()
            self._due.set()
        return [self._of(gateway) for gateway in found] if wanted else found

    def _of(self, gateway: Gateway) -> Gateway:
        if not any(_is_name(one.peer_address) for one in gateway.connections):
            return gateway
        connections = tuple(map(self._at, gateway.connections))
        return gateway.model_copy(update={"connections": connections})

    def _at(self, one: Connection) -> Connection:
        if not _is_name(one.peer_address):
            return one
        if self._named.setdefault(one.id, one.peer_address) != one.peer_address:
            self._named[one.id] = one.peer_address  # another peer is declared: the address was the old one's
            self._last.pop(one.id, None)
        six = ":" in one.local_address
        fitting = [a for a in self._followed[one.peer_address].addresses if (":" in a) == six]
        last = self._last.get(one.id)
        at = last if last in fitting or not fitting else fitting[0]
        if at is None:
            return one
        self._last[one.id] = at
        return one.model_copy(update={"peer_address": at})

    async def run(self) -> None:
        """Look names up as often as their answers hold, until cancelled."""
        while True:
            now = time.monotonic()
            due = [name for name, one in self._followed.items() if one.due <= now]
            for start in range(0, len(due), _AT_ONCE):
                found = await asyncio.gather(*(self._look_up(name) for name in due[start : start + _AT_ONCE]))
                if any(found):
                    self.changed()
            next_ = min((one.due for one in self._followed.values()), default=None)
            await self._wait(None if next_ is None else max(0.0, next_ - time.monotonic()))

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._due.wait()
        except TimeoutError:
            return
        self._due.clear()

    async def _look_up(self, name: str) -> bool:
        """Say whether it has other addresses than before; where DNS fails it keeps those it had."""
        try:
            found = await self._names.resolve(name)
        except EdgewardError as error:
            self._set_due(name, _RETRY_SECONDS)
            log.warning("the name of a peer is not resolved", name=name, reason=str(error))
            return False
        self._set_due(name, min(max(float(found.ttl), _FLOOR_SECONDS), _CAP_SECONDS))
        one = self._followed.get(name)
        if one is None or one.addresses == found.addresses:
            return False
        log.info("addresses of a peer", name=name, addresses=found.addresses)
        one.addresses = found.addresses
        return True

    def _set_due(self, name: str, seconds: float) -> None:
        if (one := self._followed.get(name)) is not None:
            one.due = time.monotonic() + seconds


def _is_name(peer: str) -> bool:
    try:
        ipaddress.ip_address(peer)
    except ValueError:
        return True
    return False
