"""Tends one gateway: finds what is there, plans, carries out, and hears how its tunnels do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final, get_args

from edgeward.errors import EdgewardError, Unavailable
from edgeward.log import logger
from edgeward.node.tunnels import rehearsal
from edgeward.node.tunnels.daemons import Daemons
from edgeward.node.tunnels.kept import Kept
from edgeward.node.tunnels.loading import Loading
from edgeward.node.tunnels.root import Made, Root
from edgeward.node.tunnels.taking_over import TakingOver
from edgeward.node.tunnels.telling import Doing, as_here
from edgeward.vpn import plan as steps
from edgeward.vpn import wiring
from edgeward.vpn.desired import DriverName, Gateway
from edgeward.vpn.driver import Driver, State
from edgeward.vpn.plan import Loaded, Observed, Step, batches, plan

log = logger(__name__)
_AT_ONCE: Final = 16
_STEP_SECONDS: Final = 30.0
_FIRST_RETRY, _MOST_RETRY = 0.3, 10.0
_GATHER_SECONDS: Final = 0.02
_FIGURES_SECONDS: Final = 25.0
_ANSWER_SECONDS: Final = 5.0
"""After so many of silence a daemon is asked whether it is stuck."""
Look = Callable[[float], Awaitable[Mapping[str, Made]]]
"""Gives what rootd made of namespaces, as seen later than a monotonic time; raises Unavailable."""


@dataclass(frozen=True)
class Wanted:
    """``gateway`` None: nothing should be; ``refused``: why connections are left out, by id."""

    gateway: Gateway | None
    namespace: str
    refused: Mapping[str, State] = field(default_factory=dict)


class Tending:
    """``changed()`` is called when anything there is to be told may be another."""

    def __init__(
        self, id_: str, root: Root, daemons: Daemons, kept: Kept, look: Look, changed: Callable[[], None],
        loaded: Mapping[str, Loaded],
    ) -> None:  # fmt: skip
        self.id = id_
        self._root, self._daemons, self._look = root, daemons, look
        self._changed = changed
        self._loading = Loading(id_, kept, changed, loaded)
        self._due, self._news = asyncio.Event(), asyncio.Event()
        self._hearing: asyncio.Task[None] | None = None
        self._states: Mapping[str, State] = {}
        self._heard = False
        """How its connections do is known: its daemon said so, or it has none."""
        self._phase = ("starting", time.time(), "")
        self._taking_over = TakingOver()
        self._retry = 0.0
        self._acted = time.monotonic()
        self._made: tuple[str, Made | None] | None = None
        """The namespace, and what rootd made of it: found, or done since; None: to be asked."""
        self.driver: Driver | None = None
        self._drives: tuple[str, DriverName] | None = None
        """The namespace of its daemon, and what that is."""
        self.wanted = Wanted(None, f"vpn-{id_}")
        self.gone = False
        """Nothing is wanted, and nothing is there."""

    # --- what is told and asked ---------------------------------------------------------------

    def want(self, wanted: Wanted) -> None:
        if wanted != self.wanted or self.gone:
            self.wanted, self.gone = wanted, False
            self._due.set()

    def look(self) -> None:
        """Have it looked whether all is as it should be."""
        self._made = None
        self._due.set()

    def doing(self) -> Doing:
        phase, since, reason = self._phase
        told = {**self._states, **self._loading.problems}
        if (cost := self._taking_over.handover) is not None:
            told = {id_: state.model_copy(update={"handover": cost}) for id_, state in told.items()}
        return Doing(phase, since, reason, {**told, **self.wanted.refused}, self._heard)

    # --- the work -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Tend it until cancelled; the daemon goes on."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            try:
                while True:
                    await self._once()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._retry or self._taking_over.wait()):
                            await self._due.wait()
            finally:
                await self._let_go()

    async def _once(self) -> None:
        self._due.clear()
        wanted = self.wanted
        try:
            observed = await self._observed(wanted)
            gateway, why = self._taking_over.judged(wanted.gateway)
            desired = self._loading.without_refused(gateway)
            todo = batches(plan(desired, observed), _AT_ONCE)
            for of_daemon, some in groupby(todo, lambda batch: isinstance(batch[0], steps.OF_A_DAEMON)):
                async with nullcontext() if of_daemon else self._root.turns:
                    for batch in some:
                        await self._all(batch)
            self._retry = 0.0
            self.gone = wanted.gateway is None and self.wanted is wanted
            self._is("running" if gateway is None or gateway.active else "standby", why)
        except (EdgewardError, OSError) as error:  # a full disk, or a place that it may not look into, too
            self._made = None
            why = str(error) or f"a step took longer than {_STEP_SECONDS:g} s"
            if self._phase[2] != why:
                log.warning("a gateway is not as it should be", gateway=self.id, problem=why)
            self._retry = min(max(2 * self._retry, _FIRST_RETRY), _MOST_RETRY)
            self._is("down" if self.driver is None else self._phase[0], why)
        if self.driver is not None:
            self._news.set()

    async def _all(self, batch: list[Step]) -> None:
        async with asyncio.timeout(_STEP_SECONDS):
            came = await asyncio.gather(*map(self._carry_out, batch), return_exceptions=True)
        if failed := [error for error in came if error is not None]:
            raise failed[0]

    def _is(self, phase: str, reason: str = "") -> None:
        self._heard = self._heard or phase == "down"
        if (phase, reason) != (self._phase[0], self._phase[2]):
            since = self._phase[1] if phase == self._phase[0] else time.time()
            self._phase = phase, since, reason
            self._changed()

    async def _observed(self, wanted: Wanted) -> Observed:
        if self._drives is not None and self._drives[0] != wanted.namespace:
            await self._let_go()
        if self.driver is None and wanted.gateway is not None:
            await self._find(wanted.namespace, wanted.gateway.driver)
        if self._made is None or self._made[0] != wanted.namespace:
            there = await self._look(self._acted)
            if (left := wiring.rehearsing(self.id)) in there:  # by who was killed meanwhile
                with suppress(Unavailable):
                    await self._root.do("remove-namespace", namespace=left)
            self._made = wanted.namespace, there.get(wanted.namespace)
        made = self._made[1]
        if made is None:
            return Observed()
        seen = Observed(wanted.namespace, made.stale, made.network, made.guard, left=bool(made.left))
        self._taking_over.found(made.left)
        if self.driver is None or self._drives is None:
            # it may be the other's turn
            self._taking_over.is_over(wanted.gateway, {}, self._loading.problems)
            return seen
        self.driver.beside(left=bool(made.left))
        known = await self.driver.loaded()
        loaded = {id_: self._loading.as_told(id_, wanted.gateway) for id_ in sorted(known)}
        over = self._taking_over.is_over(wanted.gateway, self._states, self._loading.problems)
        return replace(seen, daemon=self._drives[1], loaded=loaded, taken_over=over)

    async def _find(self, namespace: str, wanted: DriverName) -> None:
        """Find the daemon that runs there: it may be another one than is wanted by now."""
        for kind in (wanted, *(kind for kind in get_args(DriverName) if kind != wanted)):
            driver = await self._daemons.found(namespace, kind, self._loading.known())
            if driver is not None:
                self._opened(driver, namespace, kind)
                return
        if not self._heard:
            self._heard = True
            self._changed()

    async def _carry_out(self, step: Step) -> None:
        try:
            await self._do(step)
        finally:
            self._acted = time.monotonic()

    async def _do(self, step: Step) -> None:
        match step:
            case steps.Make(namespace, lent):
                await self._root.do("adopt-namespace" if lent else "create-namespace", namespace=namespace)
                self._made = namespace, Made(lent=lent)
            case steps.Guard(namespace, elsewhere, pairs):
                await self._root.do("apply-guard", namespace=namespace, elsewhere=elsewhere, pairs=pairs)
                self._know(namespace, lambda made: replace(made, guard=step.digest))
            case steps.Connect(namespace, network):
                await self._root.do("apply-network", namespace=namespace, network=network)
                self._know(namespace, lambda made: replace(made, network=wiring.digest(network)))
            case steps.Start(namespace, driver):
                started = await self._daemons.start(namespace, driver, self._loading.known())
                self._opened(started, namespace, driver)
                started.beside(left=bool(self._taking_over.left))
                self._taking_over.opened()
            case steps.Rehearse():
                await rehearsal.rehearse(step, self._root, self._daemons)
            case steps.Leave(namespace, driver):
                await self._leave(step)
                self._know(namespace, lambda made: replace(made, left=time.time()))
                self._loading.forget_all()
            case steps.Clear(namespace):
                await self._taking_over.clear(self._root, namespace)
                self._know(namespace, lambda made: replace(made, left=0.0))
                self._loading.tell_again()  # what waited for this is told now
                self._due.set()
                self._changed()
            case steps.Stop(namespace, _):
                await self._let_go()
                await self._daemons.stop(namespace)
                self._loading.forget_all()
            case steps.Remove(namespace):
                await self._let_go()
                await self._root.do("remove-namespace", namespace=namespace)
                self._made = namespace, None
                self._loading.forget_all()
            case _:
                if self.driver is None:
                    raise Unavailable("the daemon has ended; it is started again")
                await self._loading.tell(self.driver, step)

    async def _leave(self, step: steps.Leave) -> None:
        self._taking_over.begin(self._states, self._drives[1] if self._drives else None)
        there, self.driver = self.driver, None  # that it ends is no surprise
        try:
            await rehearsal.leave(step, self._root)
        finally:
            self.driver = there
            if self._hearing is None or self._hearing.done():  # it has ended, whatever was said of it
                await self._let_go()
        await self._let_go()

    def _know(self, namespace: str, done: Callable[[Made], Made]) -> None:
        """Note what rootd has just done, so that nobody has to ask before the next change."""
        if self._made is not None and self._made[0] == namespace and self._made[1] is not None:
            self._made = namespace, done(self._made[1])

    # --- the daemon ---------------------------------------------------------------------------

    def _opened(self, driver: Driver, namespace: str, kind: DriverName) -> None:
        self.driver, self._drives = driver, (namespace, kind)
        self._loading.tell_again()
        self._hearing = asyncio.create_task(self._hear(driver))

    async def _let_go(self) -> None:
        hearing, driver = self._hearing, self.driver
        self._hearing, self.driver, self._drives, self._states = None, None, None, {}
        if hearing is not None:
            hearing.cancel()
            await asyncio.wait([hearing])
        if driver is not None:
            await driver.close()

    async def _hear(self, driver: Driver) -> None:
        """Have it looked again whenever something happens, and begun anew when the daemon ends."""
        with suppress(Unavailable):
            async for _ in driver.events():
                self._news.set()
        if self.driver is driver:
            log.warning("the daemon of a gateway has ended", gateway=self.id)
            self.driver, self._hearing, self._drives, self._states = None, None, None, {}
            with suppress(EdgewardError):
                await driver.close()
            self._is("starting")
            self._changed()
            self.look()

    async def _listen(self) -> None:
        """Take in how the tunnels do: as it changes, and figures now and then."""
        due = 0.0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._news.wait()
                await asyncio.sleep(_GATHER_SECONDS)
            asked, news = self.driver, self._news.is_set()
            self._news.clear()
            if asked is None:
                continue
            try:
                if not news and time.monotonic() < due:
                    await asked.answers()
                    continue
                due = time.monotonic() + _FIGURES_SECONDS
                states = await asked.states()
            except EdgewardError as error:
                if self.driver is asked and self._phase[0] != "down":
                    # it is stuck, or about to end; all is well again once it is looked
                    self._is("down", f"its daemon does not say how it does: {error}")
                    self.look()
                continue
            if self.driver is asked:
                self._states = as_here(states, self.wanted.gateway, self._drives[1] if self._drives else "")
                self._heard = True
                self._changed()
                if self._taking_over.is_over(self.wanted.gateway, states, self._loading.problems):
                    self._due.set()
