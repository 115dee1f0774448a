"""The driver: tells one charon what changed and nothing else, and says how its tunnels do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from edgeward.errors import Invalid, NotFound, Problem, Unavailable
from edgeward.vpn.desired import Connection
from edgeward.vpn.driver import Effect, Line, State
from edgeward.vpn.drivers.keeping import Keeper
from edgeward.vpn.drivers.strongswan import proposals, reasons, states, wording
from edgeward.vpn.drivers.strongswan.asking import BEGIN_SECONDS, Asking
from edgeward.vpn.drivers.strongswan.loading import Loading
from edgeward.vpn.drivers.strongswan.refusals import refusals
from edgeward.vpn.drivers.strongswan.sas import IkeSa, doubled, listed, undecided
from edgeward.vpn.drivers.strongswan.told import Told
from edgeward.vpn.drivers.strongswan.vici import NotDone, Vici
from edgeward.vpn.drivers.strongswan.watching import Watch
from edgeward.vpn.effect import effect

_READY_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 8.0
Level = Callable[[int], Awaitable[None]]
"""Has the daemon's settings say how much it logs; it is asked to read them afterwards."""


class StrongSwan:
    """One charon; see ``opened``."""

    def __init__(self, vici: Vici, level: Level | None) -> None:
        self._vici = vici
        self._level = level
        self._known: dict[str, Connection] = {}
        self._told = Told()
        self._additional: frozenset[str] = frozenset()
        """The additional key exchanges that this charon has."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Of peers by their names, as long as somebody holds one or waits for it."""
        self._watch = Watch(vici, self._told.ids, self._known)
        self._asking = Asking(vici, self._watch.log)
        self._keeper = Keeper(self._again)
        self._loading = Loading(vici, self._told, self._known, self._keeper.wanted)
        self._watch.went = self._keeper.went
        self._states = states.States()
        self._tasks: list[asyncio.Task[None]] = []

    async def loaded(self) -> frozenset[str]:
        here = (one for ids in (await self._loading.there()).values() for one in ids)
        return frozenset(here) | {one.id for one in self._known.values() if not one.enabled}

    async def load(self, connection: Connection, before: Connection | None, *, initiate: bool) -> None:
        """As Driver says. ``initiate``: it is kept up too, as long as it is not terminated."""
        if found := refusals(connection):
            raise Invalid(*(Problem(field, why) for field, why in found))
        connection = connection.without_additional(self._additional)
        before = None if before is None else before.without_additional(self._additional)
        was, names = self._told.name(connection.id), self._told.names(connection.id)
        async with self._alone(wording.peers(connection), *names):
            old = before or self._known.get(connection.id)
            if not connection.enabled:
                self._known[connection.id] = connection
                await self._forget(connection.id, names)
                self._watch.tell([connection.id])
                return
            keep = initiate and connection.initiator
            with self._keeper.told(connection.id, keep=keep):
                name = await self._loading.load(connection)
            self._known[connection.id] = connection
            cost = effect(old, connection)
            if cost != "none":
                self._watch.forget(name)  # why it did not come up as it was told before
            await self._carry_out(connection, name, was, cost, keep=keep)
            for former in names:
                if former != name:
                    await self._leave(former, connection.id)

    async def unload(self, connection: str) -> None:
        names = self._told.names(connection)
        async with self._alone(*names):
            self._known.pop(connection, None)
            await self._forget(connection, names)

    async def initiate(self, connection: str) -> None:
        self._named(connection)
        self._keeper.want(connection)
        name, known = await self._trapped(connection)
        try:
            await self._asking.begin(name, await self._missing(name, known))
        except NotDone as error:
            if not await self._missing(name, known):
                return  # it came up meanwhile, and a second one was refused
            found, now = self._watch.finding(name, known), time.time()
            if found is None and "not established after" in str(error):
                found = reasons.Finding(name, "silent", (), now - BEGIN_SECONDS)
            if found is None:
                raise Unavailable(f"strongSwan says: {error}; see its log") from error
            raise Unavailable("; ".join(reasons.told(found, known, now))) from error

    async def terminate(self, connection: str) -> None:
        self._named(connection)
        self._keeper.leave(connection)
        name, known = await self._trapped(connection)
        await self._end(name, known)
        self._watch.forget(name)

    async def states(self) -> Mapping[str, State]:
        now = time.time()
        found: dict[str, list[IkeSa]] = {}
        for sa in await listed(self._vici, now):
            found.setdefault(sa.name, []).append(sa)
        given = {}
        for one in [one for one in self._known.values() if not one.enabled or self._told.name(one.id)]:
            name = wording.peers(one)
            finding, mark = self._watch.finding(name, one), self._watch.mark(one.id, now)
            waits = self._keeper.waits(one.id)
            given[one.id] = self._states.of(one, found.get(name, ()), finding, waits, mark, now)
        return given

    async def answers(self) -> None:
        """Ask its version, which takes none of what a busy one may have locked."""
        async with self._vici.talk() as talk:
            await talk.request("version", seconds=_ANSWER_SECONDS)

    async def events(self) -> AsyncIterator[str]:
        async for each in self._watch.events():
            yield each

    async def lines(self, connection: str, last: int) -> Sequence[Line]:
        """As Driver says; as far back as this driver has been open."""
        known = self._known.get(connection)
        if known is None:
            return ()
        return self._watch.lines(self._told.name(connection) or wording.peers(known), known, last)

    def beside(self, *, left: bool) -> None:
        """As Driver says: a trap would take the place of policies that are in use."""
        self._loading.left = left

    async def verbosity(self, level: int) -> None:
        if self._level is not None:
            await self._level(level)
        await self._vici.request("reload-settings")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _open(self, known: Iterable[Connection]) -> None:
        await self._loading.begin()
        self._additional = proposals.additional(await self._vici.request("get-algorithms"))
        self._known.update((one.id, one.without_additional(self._additional)) for one in known)
        self._tasks = [asyncio.create_task(self._watch.run()), asyncio.create_task(self._keeper.run())]
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._watch.ready.wait()
        except TimeoutError as error:
            raise Unavailable(f"charon says nothing within {_READY_SECONDS:g} s") from error

    async def _trapped(self, connection: str) -> tuple[str, Connection]:
        """Have traffic start one that is wanted, and no other; gives it as it is by then."""
        async with self._alone(*self._told.names(connection)):
            name, known = self._named(connection)  # it may have been changed, or taken away, meanwhile
            if self._loading.traps:
                await self._loading.load(known)
            return name, known

    async def _carry_out(
        self, connection: Connection, name: str, was: str | None, cost: Effect, *, keep: bool
    ) -> None:
        """Have what is up be as it is told now. ``keep``: it is to be up."""
        if was is None:
            if keep:
                await self._asking.start(name, wording.children(connection))
            return
        sas = await listed(self._vici, time.time(), was)
        live = [sa for sa in sas if any(child.carries for child in sa.of(connection.id))]
        if cost == "none" or not live:
            if cost in ("ike", "secret"):
                await self._asking.end_all(sa for sa in sas if sa not in live and not sa.children)
            if keep and not live:
                await self._asking.start(name, wording.children(connection))
            return
        came = await self._renew(connection, name, cost if was == name else "ike", live, keep=keep)
        if not came and keep:
            self._keeper.went([connection.id])

    async def _renew(
        self, connection: Connection, name: str, cost: Effect, live: list[IkeSa], *, keep: bool
    ) -> bool:
        children = wording.children(connection)
        if cost == "child":
            return await self._asking.renew_children(name, connection.id, children, live)
        if not keep:  # the peer comes again
            await self._asking.end_all(live)
            return True
        if cost == "secret":
            refused = partial(self._watch.refused, name, time.time())
            return await self._asking.prove_again(live, name, refused)
        others = {child.connection for sa in live for child in sa.children} & set(self._told.ids(name))
        all_ = [one for each in others - {connection.id} for one in wording.children(self._known[each])]
        return await self._asking.renew_peers(name, [*children, *all_], live)

    async def _again(self, connection: str) -> bool | None:
        """Have one come up that should be and is not; gives whether it is up, None while it comes."""
        name, known = self._named(connection)
        sas = await listed(self._vici, time.time(), name)
        children = [child for sa in sas for child in sa.of(connection)]
        missing = set(wording.children(known)) - {child.name for child in children if child.carries}
        if not missing:
            now = time.time()
            await self._asking.end({"ike-id": sa.number} for sa in doubled(sas, now))
            return None if undecided(sas, now) else True
        if any(sa.coming for sa in sas) or any(child.coming for child in children):
            return None
        await self._asking.start(name, sorted(missing))
        return False

    async def _missing(self, name: str, connection: Connection) -> list[str]:
        """Give the children that do not carry anything yet: a second one would be refused."""
        sas = await listed(self._vici, time.time(), name)
        carried = {child.name for sa in sas for child in sa.children if child.carries}
        return [child for child in wording.children(connection) if child not in carried]

    async def _end(self, name: str, connection: Connection) -> None:
        """End the tunnels of one, and the IKE_SA where it is of nobody else."""
        sas = await listed(self._vici, time.time(), name)
        shared = any(child.connection != connection.id for sa in sas for child in sa.children)
        if shared:
            await self._asking.end({"ike": name, "child": one} for one in wording.children(connection))
        else:
            await self._asking.end_all(sas)

    async def _forget(self, connection: str, names: Iterable[str]) -> None:
        self._keeper.leave(connection)
        self._states.forget(connection)
        for name in names:
            await self._leave(name, connection)
        self._watch.leave(connection)

    async def _leave(self, name: str, connection: str) -> None:
        """Take one away from its peers; nobody can begin it any more before its tunnels end."""
        rest = [self._known[one] for one in self._told.ids(name) if one != connection and one in self._known]
        sas = await listed(self._vici, time.time(), name)
        if rest:
            await self._loading.load(rest[-1], without=connection, name=name)
            children = {child.name for sa in sas for child in sa.of(connection)}
            await self._asking.end({"ike": name, "child": one} for one in children)
            return
        await self._loading.unload(name)
        self._watch.sweep()
        await self._asking.end([{"ike": name, "force": "yes"}])

    def _named(self, connection: str) -> tuple[str, Connection]:
        name, known = self._told.name(connection), self._known.get(connection)
        if name is None or known is None:
            raise NotFound(f"there is no connection {connection} here, or it is disabled; load it first")
        return name, known

    @asynccontextmanager
    async def _alone(self, *names: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for name in sorted(set(names)):
                await stack.enter_async_context(self._locks.setdefault(name, asyncio.Lock()))
            yield


async def opened(path: Path, known: Iterable[Connection] = (), level: Level | None = None) -> StrongSwan:
    """Give the driver of the charon whose vici is at a path; raises Unavailable. It is to be closed.

    ``known``: its connections as they were last loaded.
    """
    driver = StrongSwan(Vici(path), level)
    try:
        await driver._open(known)
    except BaseException:
        await driver.close()
        raise
    return driver
