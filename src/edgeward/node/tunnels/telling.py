"""Tells the controller how gateways and tunnels do: what changed, at once; figures, now and then; all of it
when a feed begins."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edgeward.declaration.feed import GatewayState, Tunnels
from edgeward.errors import EdgewardError, NotFound
from edgeward.log import logger
from edgeward.vpn.desired import Gateway
from edgeward.vpn.driver import State

log = logger(__name__)
_GATHER_SECONDS: Final = 0.02
_FIGURES_SECONDS: Final = 30.0
_FIRST_RETRY, _MOST_RETRY = 0.2, 5.0
_AT_ONCE: Final = 500
_FIGURES: Final = frozenset(
    {"bytes_in", "bytes_out", "packets_in", "packets_out", "rekeys_at", "reauthenticates_at"}
)
_OF_CHILDREN: Final = _FIGURES | {"since"}
"""Daemons say how many seconds ago a child came, so that each look gives another moment; that it is another
child its SPIs say."""


@dataclass(frozen=True)
class Doing:
    """How one gateway does on this node: its daemon, and the connections it knows, by id.

    ``phase`` is ``starting``, ``running``, ``standby`` or ``down``; ``reason`` says why it is down.
    """

    phase: str
    since: float
    reason: str = ""
    states: Mapping[str, State] = field(default_factory=dict)
    heard: bool = True
    """Its connections are known; not while a node that began anew has not found its daemon yet."""


Doings = Mapping[str, Doing]
"""By the gateway's id."""


def as_here(states: Mapping[str, State], gateway: Gateway | None, driver: str) -> dict[str, State]:
    """Give what a daemon says of connections with what this node knows: from where, and by whose daemon."""
    own = {one.id: one.local_address for one in gateway.connections} if gateway is not None else {}
    return {
        id_: state.model_copy(update={"driver": driver, "local_address": _known(own.get(id_, ""))})
        for id_, state in states.items()
    }


def _known(address: str) -> str:
    """Give it unless it stands for whichever there is, as in namespaces of others."""
    return "" if not address or ipaddress.ip_address(address).is_unspecified else address


class Telling:
    """``doings`` gives how all gateways do now; ``send`` raises what keeps the controller from taking it."""

    def __init__(self, doings: Callable[[], Doings], send: Callable[[Tunnels], Awaitable[None]]) -> None:
        self._doings = doings
        self._send = send
        self._told: Doings | None = None
        self._feed = 0
        self._due = asyncio.Event()

    def changed(self) -> None:
        """Have it looked at what is to be told."""
        self._due.set()

    def followed(self) -> None:
        """Note that another feed began: who is followed now may know nothing, so all is told anew."""
        self._told = None
        self._feed += 1
        self._due.set()

    async def run(self) -> None:
        """Tell, for ever."""
        retry, figures_at = _FIRST_RETRY, time.monotonic()
        while True:
            with_figures = await self._waited(figures_at + _FIGURES_SECONDS)
            if with_figures:
                figures_at = time.monotonic()
            try:
                await self._tell(figures=with_figures)
                retry = _FIRST_RETRY
            except NotFound:
                self._told = self._doings()  # a controller of the version before: it takes none
            except EdgewardError as error:
                log.debug("how tunnels do is not taken", problem=str(error))
                await asyncio.sleep(retry)
                retry = min(2 * retry, _MOST_RETRY)
                self._due.set()

    async def _waited(self, until: float) -> bool:
        """Wait for something to tell; True where it is time for figures."""
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._due.wait()
            await asyncio.sleep(_GATHER_SECONDS)
        except TimeoutError:
            return True
        finally:
            self._due.clear()
        return False

    async def _tell(self, *, figures: bool) -> None:
        told, now, feed = self._told, dict(self._doings()), self._feed
        for message in news(told, now, figures=figures):
            await self._send(message)
        if self._feed == feed:  # else another one began meanwhile, and all is to be told to that
            self._told = now if figures or told is None else _kept(told, now)


def news(told: Doings | None, now: Doings, *, figures: bool) -> Iterator[Tunnels]:
    """Give what is to be said, in messages of some connections each. ``told`` None: nothing was said yet.

    Where only figures are others, nothing is said unless it is time for ``figures``.
    """
    fresh = told is None
    if fresh or not set(told or {}) <= set(now):
        heads = tuple(_head(id_, one, whole=False) for id_, one in now.items())
        yield Tunnels(gateways=heads, whole=True)
    before = told or {}
    batch: list[GatewayState] = []
    size = 0
    for id_, one in now.items():
        said = _of_gateway(id_, before.get(id_), one, figures=figures)
        if said is None:
            continue
        if batch and size + len(said.connections) > _AT_ONCE:
            yield Tunnels(gateways=tuple(batch))
            batch, size = [], 0
        batch.append(said)
        size += len(said.connections)
    if batch:
        yield Tunnels(gateways=tuple(batch))


def _of_gateway(id_: str, before: Doing | None, now: Doing, *, figures: bool) -> GatewayState | None:
    if not now.heard:  # what was said of them last still holds
        return None if before == now else _head(id_, now, whole=False)
    if before is None or not before.heard or not set(before.states) <= set(now.states):
        return _head(id_, now, whole=True, states=now.states)
    other = {
        name: state
        for name, state in now.states.items()
        if not _same(before.states.get(name), state, figures=figures)
    }
    same_daemon = (before.phase, before.since, before.reason) == (now.phase, now.since, now.reason)
    return None if same_daemon and not other else _head(id_, now, whole=False, states=other)


def _head(id_: str, one: Doing, *, whole: bool, states: Mapping[str, State] | None = None) -> GatewayState:
    said = tuple(state.model_dump(mode="json") for state in (states or {}).values())
    return GatewayState(
        id=id_, phase=one.phase, since=one.since, reason=one.reason, connections=said, whole=whole
    )


def _same(before: State | None, now: State, *, figures: bool) -> bool:
    if before is None or figures:
        return before == now
    return bool(_essence(before) == _essence(now))


def _essence(state: State) -> Any:
    """Give what of a state is worth saying at once: not its running figures."""
    return (
        state.model_dump(exclude={*_FIGURES, "children"}),
        [child.model_dump(exclude={*_OF_CHILDREN}) for child in state.children],
    )


def _kept(told: Doings, now: Doings) -> Doings:
    """Give what was told after a look without figures: figures alone were not told."""
    return {id_: _kept_of(told.get(id_), one) for id_, one in now.items()}


def _kept_of(told: Doing | None, now: Doing) -> Doing:
    if told is None:
        return now
    states = {
        name: told.states[name] if _same(told.states.get(name), state, figures=False) else state
        for name, state in now.states.items()
    }
    return Doing(now.phase, now.since, now.reason, states, now.heard)
