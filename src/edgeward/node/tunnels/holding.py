"""Which of the gateways that other nodes may have too are active here: those whose lease this node holds.

As long as nobody can tell, all stays as it was, for a dead controller must not end a tunnel. Another node may
have a gateway by then: so one whose last tunnel comes down meanwhile is given up until somebody can tell.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from edgeward.declaration.feed import Claim, Granted
from edgeward.errors import EdgewardError
from edgeward.log import logger
from edgeward.node.tunnels.telling import Doing, Doings
from edgeward.vpn.desired import Gateway

log = logger(__name__)
_HOLDING_SECONDS: Final = 1.0
_WAITING_SECONDS, _LEAST_SECONDS = 0.4, 0.05
_ASK_SECONDS: Final = 1.5
_LEASE_SECONDS: Final = 5.0
"""As controllers give them; from when it was asked for."""
_ABLE: Final = frozenset({"running", "standby"})

Ask = Callable[[Claim, float], Awaitable[Granted]]
"""Raises an EdgewardError where nobody can tell."""


class Holding:
    """``changed()`` is called when other gateways are active than before. ``kept``: the file that says which
    these are after a restart."""

    def __init__(self, ask: Ask, kept: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._kept = kept
        self._clock = clock
        self._shared: frozenset[str] = frozenset()
        self._alone: frozenset[str] = frozenset()
        self._known = False
        """Whether it was said which gateways there are."""
        self._doings: Doings = {}
        self._up: frozenset[str] = frozenset()
        self._held = _read(kept)
        self._certain_until = float("-inf")
        self._free_at: float | None = None
        self._due = asyncio.Event()
        self.changed: Callable[[], None] = lambda: None

    def judged(self, gateways: Iterable[Gateway]) -> tuple[Gateway, ...]:
        """Take in which gateways there are, and give them as they are to be here: active or standing by."""
        found = tuple(gateways)
        self._known = True
        shared = frozenset(g.id for g in found if g.shared)
        if shared != self._shared:
            self._shared = shared
            self._due.set()
        self._keep(self._alone & shared)
        self._alone = frozenset(g.id for g in found if g.active and not g.shared)
        return tuple(self._judged(gateway) for gateway in found)

    def _keep(self, were_alone: frozenset[str]) -> None:
        """Go on with those that were this node's alone when another one comes to have them, too."""
        if not were_alone <= self._held:
            self._held |= were_alone
            _write(self._kept, self._held)

    def _judged(self, gateway: Gateway) -> Gateway:
        active = gateway.id in self._held if gateway.shared else gateway.active
        return gateway if active == gateway.active else gateway.model_copy(update={"active": active})

    def doing(self, doings: Doings) -> None:
        """Take in how the gateways do: only one that could carry its tunnels is asked for."""
        self._doings = doings
        up = frozenset(id_ for id_, one in doings.items() if _is_up(one))
        if up != self._up or self._waiting():
            self._due.set()
        fell, self._up = self._up - up, up
        if fell & self._held and self._clock() > self._certain_until:
            self._take(self._held - fell, "its tunnels came down while nobody could tell whose it is")

    async def begin(self) -> None:
        """Ask once for what was held before a restart: it may be another node's by now."""
        if self._held:
            await self._look(frozenset(self._held))

    async def run(self) -> None:
        """Ask on, for ever."""
        while True:
            wanted = frozenset(id_ for id_ in self._shared if self._able(id_))
            if wanted:
                await self._look(wanted)
            elif self._held and self._known:
                self._take(frozenset(), "it cannot be carried here")
            pause = self._until_free() if wanted - self._held else _HOLDING_SECONDS
            self._due.clear()
            if not wanted:
                await self._due.wait()
            else:
                await asyncio.sleep(pause)

    async def _look(self, wanted: frozenset[str]) -> None:
        began = self._clock()
        try:
            said = await self._ask(Claim(gateways=tuple(sorted(wanted))), _ASK_SECONDS)
        except EdgewardError as error:
            log.debug("nobody can tell which gateways are this node's", problem=str(error))
            return
        self._certain_until = began + _LEASE_SECONDS
        self._free_at = None if said.free_in is None else self._clock() + said.free_in
        self._take(wanted.intersection(said.gateways), "another node has it, or it cannot be carried here")

    def _take(self, held: frozenset[str], why: str) -> None:
        if held == self._held:
            return
        for id_ in held - self._held:
            log.info("a gateway is active here from now on", gateway=id_)
        for id_ in self._held - held:
            log.warning("a gateway is not active here any more", gateway=id_, why=why)
        self._held = held
        _write(self._kept, held)
        self.changed()

    def _until_free(self) -> float:
        """Give the pause after which to ask again for one that another node has: the end of its lease is not
        missed."""
        left = _WAITING_SECONDS if self._free_at is None else self._free_at - self._clock()
        return min(max(left, _LEAST_SECONDS), _WAITING_SECONDS)

    def _waiting(self) -> bool:
        return bool(self._shared - self._held)

    def _able(self, id_: str) -> bool:
        """Whether its daemon runs; where it was active a moment ago, it need not be known yet."""
        one, held = self._doings.get(id_), id_ in self._held
        return held if one is None else one.phase in _ABLE or (held and one.phase == "starting")


def _is_up(one: Doing) -> bool:
    return any(state.phase == "active" for state in one.states.values())


def _read(kept: Path) -> frozenset[str]:
    try:
        return frozenset(str(id_) for id_ in json.loads(kept.read_text()))
    except (OSError, ValueError):
        return frozenset()


def _write(kept: Path, held: frozenset[str]) -> None:
    following = kept.with_suffix(".next")
    try:
        following.write_text(json.dumps(sorted(held)))
        following.replace(kept)
    except OSError as error:
        log.warning("which gateways are active here is not on disk", problem=error.strerror)
