"""The gateways of this node: taken from the feed, kept sealed, each tended on its own.

Nothing of it is rebuilt by a restart of this program or of rootd: what is there is found again.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from pydantic import ValidationError

from edgeward.declaration import feed
from edgeward.errors import Unavailable
from edgeward.log import logger
from edgeward.node.tunnels.announcing import Announcing
from edgeward.node.tunnels.daemons import Daemons
from edgeward.node.tunnels.holding import Holding
from edgeward.node.tunnels.kept import Kept
from edgeward.node.tunnels.loading import refused
from edgeward.node.tunnels.peers import Peers
from edgeward.node.tunnels.root import Made, Root
from edgeward.node.tunnels.telling import Doing
from edgeward.node.tunnels.tending import Tending, Wanted
from edgeward.vpn import wiring
from edgeward.vpn.desired import Gateway
from edgeward.vpn.driver import Driver, State
from edgeward.vpn.sharing import HostAddress, shared

log = logger(__name__)
_LOOK_SECONDS: Final = 5.0


class Agent:
    """``changed()`` is called when there may be something to tell."""

    def __init__(
        self, kept: Kept, root: Root, daemons: Daemons, holding: Holding, peers: Peers,
        host_address: HostAddress | None = None,
    ) -> None:  # fmt: skip
        self._kept, self._root, self._daemons, self._holding = kept, root, daemons, holding
        self._peers = peers
        self._host_address = host_address or _host_address
        self._reached: dict[str, str | None] = {}
        """From which of the host's addresses the peers of gateways without one of their own were reached."""
        self._announcing = Announcing(root)
        self._gateways = kept.gateways()
        self._loaded = kept.loaded()
        self._used = kept.used()
        self._incoming: _Incoming | None = None
        self._known = kept.whole
        """Whether there are no others than these: before, what is found here may be one that is not known."""
        self._tending: dict[str, Tending] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._seen: tuple[float, Mapping[str, Made]] = (float("-inf"), {})
        self._looking = asyncio.Lock()
        self._due = asyncio.Event()
        self.changed: Callable[[], None] = lambda: None
        holding.changed = peers.changed = self._judge
        for loaded in self._loaded.values():
            peers.remember(one.as_it_was for one in loaded.values() if one.as_it_was is not None)

    # --- what is asked ------------------------------------------------------------------------

    @property
    def gateways(self) -> tuple[Gateway, ...]:
        return tuple(self._gateways.values())

    def doings(self) -> dict[str, Doing]:
        return {id_: self._tending[id_].doing() for id_ in self._gateways if id_ in self._tending}

    def driver(self, gateway: str) -> Driver | None:
        found = self._tending.get(gateway)
        return None if found is None else found.driver

    # --- what is told -------------------------------------------------------------------------

    def take(self, message: feed.Gateways) -> None:
        """Take in a message of the feed; what is spread over several, with the last of them."""
        incoming = self._incoming
        if incoming is None or message.whole:
            incoming = _Incoming(whole=message.whole)
        incoming.add(message)
        self._incoming = incoming if message.more else None
        if message.more:
            return
        remove = incoming.removed(self._gateways)
        put = {id_: one for id_, one in incoming.put.items() if self._gateways.get(id_) != one}
        self._known = self._known or incoming.whole
        self._kept.keep(put.values(), remove)
        self._gateways = {**{i: g for i, g in self._gateways.items() if i not in remove}, **put}
        if put or remove or incoming.whole:
            self._judge()

    def _judge(self) -> None:
        """Have each gateway be tended as it is to be now."""
        self._use({wiring.namespace(gateway) for gateway in self._gateways.values()})
        self._reached.clear()
        found = shared(self._holding.judged(self._peers.followed(self._gateways.values())), self._reach)
        left_out = {id_: refused(id_, *why) for id_, why in found.refused.items()}
        for gateway in found.gateways:
            ids = {one.id for one in self._gateways[gateway.id].connections}
            mine = {id_: state for id_, state in left_out.items() if id_ in ids}
            self._tend(gateway.id).want(_wanted(gateway, mine, self._tending[gateway.id].wanted))
        for id_, tending in self._tending.items():
            if id_ not in self._gateways:
                tending.want(Wanted(None, tending.wanted.namespace))
        if self._group is not None:
            self._announcing.judged(found.gateways, self._group)
        self._due.set()
        self.changed()

    def _use(self, namespaces: set[str]) -> None:
        """Note which namespaces are this node's, before they are made: others of this host have others."""
        if fresh := namespaces - self._used:
            self._kept.use(fresh)
            self._used |= fresh

    def _reach(self, peer: str) -> str | None:
        self._reached[peer] = self._host_address(peer)
        return self._reached[peer]

    def _moved(self, peer: str, before: str | None) -> bool:
        """Tell whether the host has another address by now; while it has none it keeps what it had."""
        return self._host_address(peer) not in (before, None)

    # --- the work -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Tend all gateways until cancelled; daemons and what rootd made go on."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await self._holding.begin()
                self._judge()
                group.create_task(self._holding.run())
                group.create_task(self._peers.run())
                while True:
                    await self._sweep()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_SECONDS if self._tending else None):
                            await self._due.wait()
                    self._due.clear()
        finally:
            self._group = None
            self._kept.close()

    async def _sweep(self) -> None:
        """See that what was found last is still there, and that nothing is that should not be."""
        for id_ in [id_ for id_, one in self._tending.items() if one.gone and id_ not in self._gateways]:
            self._tasks.pop(id_).cancel()
            self._let_go(self._tending.pop(id_).wanted.namespace)
        if any(self._moved(peer, before) for peer, before in self._reached.items()):
            self._judge()
        before = self._seen[1]
        try:
            seen = await self._look(time.monotonic())
        except Unavailable:
            return  # who has to do something says so itself
        if seen != before:
            for tending in self._tending.values():
                tending.look()
        if self._known:
            self._end_others(seen)

    def _let_go(self, namespace: str) -> None:
        if namespace not in {wiring.namespace(gateway) for gateway in self._gateways.values()}:
            self._used.discard(namespace)
            self._kept.let_go(namespace)

    def _end_others(self, seen: Mapping[str, Made]) -> None:
        """End what a removal that was cut short left behind; what another node of this host has stays."""
        wanted = {tending.wanted.namespace for tending in self._tending.values()}
        for name in (set(seen) & self._used) - wanted:
            self._tend(name).want(Wanted(None, name))

    def _tend(self, id_: str) -> Tending:
        found = self._tending.get(id_)
        if found is None:
            loaded = self._loaded.pop(id_, {})
            found = Tending(id_, self._root, self._daemons, self._kept, self._look, self._news, loaded)
            self._tending[id_] = found
        if self._group is not None and id_ not in self._tasks:
            self._tasks[id_] = self._group.create_task(found.run())
        return found

    def _news(self) -> None:
        self._holding.doing(self.doings())
        self.changed()

    async def _look(self, since: float) -> Mapping[str, Made]:
        """Give what there is, seen later than ``since``: one look serves all who come at the same time."""
        async with self._looking:
            if self._seen[0] <= since:
                began = time.monotonic()
                self._seen = (began, await self._root.observed())
            return self._seen[1]


class _Incoming:
    """What one transaction of the feed says."""

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole
        self.put: dict[str, Gateway] = {}
        self._remove: set[str] = set()
        self._unread: set[str] = set()

    def add(self, message: feed.Gateways) -> None:
        self._remove.update(message.remove)
        for value in message.put:
            try:
                gateway = Gateway.model_validate(value)
                self.put[gateway.id] = gateway
            except ValidationError as error:
                id_ = str(value.get("id", ""))
                self._unread.add(id_)
                log.error("a gateway is not understood; it stays as it was", gateway=id_,
                          problem=[".".join(map(str, e["loc"])) for e in error.errors()[:3]])  # fmt: skip

    def removed(self, before: Mapping[str, Gateway]) -> set[str]:
        gone = self._remove if not self.whole else set(before) - set(self.put) - self._unread
        return {id_ for id_ in gone if id_ in before and id_ not in self.put}


def _wanted(gateway: Gateway, left_out: Mapping[str, State], before: Wanted) -> Wanted:
    """Give what is wanted; who was left out before for the same reason has been since then."""
    states = {}
    for id_, state in left_out.items():
        was = before.refused.get(id_)
        states[id_] = was if was is not None and was.reason == state.reason else state
    return Wanted(gateway, wiring.namespace(gateway), states)


def _host_address(peer: str) -> str | None:
    """Give the host's address that a peer is reached from: nothing is sent."""
    with socket.socket(socket.AF_INET6 if ":" in peer else socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((peer, 500))
            return str(asking.getsockname()[0])
        except OSError:
            return None
