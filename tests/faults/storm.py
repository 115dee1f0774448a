"""What goes on during a storm: programs are killed, visitors come, the declaration changes; and what came of it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from edgeward.cli.demo.visit import Failed, trusting, visit
from tests.integration.acme import Pebble
from tests.integration.processes import is_alive
from tests.integration.up_rig import EAGER, ON_DEMAND, Edge

_PROGRAMS: Final = ("controller", "node", "envoy", "launcher")
SERVED_BY: Final = ("envoy", "launcher")
"""While one of these is away nobody listens."""
_VISITS_A_SECOND: Final = 20
LONGEST: Final = 90.0
"""Seconds until something that is to be true counts as lost."""
CUT_OFF: Final = 1.0
"""Seconds that a visit may have taken already."""


@dataclass
class Storm:
    """Times are of ``time.monotonic()``."""

    edge: Edge
    authority: Pebble
    chance: random.Random
    kills: list[tuple[float, str]] = field(default_factory=list)
    away: list[tuple[float, float]] = field(default_factory=list)
    """From when to when no Envoy can have listened."""
    turned_away: list[tuple[float, str]] = field(default_factory=list)
    visits: int = 0
    declared: dict[str, str] = field(default_factory=dict)
    """Names whose declaration was acknowledged, and what their pages are to say."""
    ordered: set[str] = field(default_factory=set)

    def works(self) -> Sequence[Coroutine[Any, Any, None]]:
        """Give what goes on for ever beside the kills."""
        return (self.visit_for_ever(), self.declare_for_ever())

    async def rage(self, kills: int) -> None:
        """Kill so often while all works go on; then wait until everything is true."""
        tasks = [asyncio.create_task(work) for work in self.works()]
        while len(self.kills) < kills:
            await asyncio.sleep(self.chance.uniform(0.1, 1.5))
            await self.strike()
            for task in tasks:
                assert not task.done(), task.exception()
        await within(60, self._has_ordered, about=self.kills)
        await self.abate(tasks)
        await self.everything_is_true()

    async def _has_ordered(self) -> bool:
        return bool(self.ordered)

    async def abate(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """End what goes on."""
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def victims(self) -> Sequence[str]:
        return _PROGRAMS

    async def strike(self) -> None:
        await self.kill(self.chance.choice(self.victims()))

    async def kill(self, what: str) -> None:
        """Kill one program once it is there, and wait for it to be back."""
        await within(LONGEST, self._is_there, what, about=self.kills)
        pid, killed = self.pid(what), time.monotonic()
        if pid:  # another kill may have taken it along
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kills.append((killed, what))
        await within(LONGEST, self._is_back, what, pid, about=self.kills)
        if what in SERVED_BY:
            self.away.append((killed, time.monotonic()))

    def pid(self, what: str) -> int:
        """Give its process, 0 where there is none."""
        if what == "envoy":
            return self.edge.envoy()
        return int(self.edge.program("envoy" if what == "launcher" else what)["pid"] or 0)

    async def _is_there(self, what: str) -> bool:
        with suppress(OSError, ValueError, StopIteration):
            return self.pid(what) > 0 and is_alive(self.pid(what))
        return False

    async def _is_back(self, what: str, before: int) -> bool:
        with suppress(OSError, ValueError, StopIteration):  # what it reads is being written
            if self.pid(what) in (0, before) or not is_alive(self.pid(what)):
                return False
            if what not in SERVED_BY:
                return True
            with suppress(Failed):
                return await self.edge.visit(EAGER) == 200
        return False

    async def visit_for_ever(self) -> None:
        """Have visitors come for names that were served before."""
        trust = trusting(self.edge.state / "ca/root.pem")
        async with asyncio.TaskGroup() as group:
            for number in range(1_000_000):
                group.create_task(self._visit((EAGER, ON_DEMAND)[number % 2], trust))
                await asyncio.sleep(1 / _VISITS_A_SECOND)

    async def _visit(self, name: str, trust: ssl.SSLContext) -> None:
        self.visits += 1
        began = time.monotonic()
        try:
            seen = await visit(self.edge.https, name, trust=trust, timeout=10.0)
        except Failed as error:
            self.turned_away.append((began, f"{name}: {error}"))
            return
        if seen.status != 200:
            self.turned_away.append((began, f"{name}: {seen.status}"))

    async def declare_for_ever(self) -> None:
        """Declare name after name, each with a page; every second one is ordered from the authority."""
        for number in range(1_000_000):
            name = f"n{number}.example"  # each a registered domain of its own, which the authority limits
            issuer = "pebble" if number % 2 else "local"
            await self.say("PUT", f"/v1/domains/{name}", {"issuer": issuer})
            body = {"hosts": [name], "redirect": {"path": f"/{number}", "status": 308}}
            await self.say("PUT", f"/v1/routes/n{number}", body)
            self.declared[name] = f"/{number}"
            if issuer == "pebble":
                self.ordered.add(name)
            await asyncio.sleep(self.chance.uniform(0.2, 0.8))

    async def say(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        """Have it acknowledged, however often it has to be said; gives up only with the test."""
        while True:
            with suppress(httpx.HTTPError, OSError):
                answer = await self.ask(method, path, body)
                if answer.is_success or (method == "DELETE" and answer.status_code == 404):
                    return
                assert answer.status_code in (429, 500, 502, 503, 504), answer.text
            await asyncio.sleep(0.1)

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        trust = ssl.create_default_context(cafile=self.edge.state / "ca/root.pem")
        token = (self.edge.state / "admin.token").read_text().strip()
        url = f"https://127.0.0.1:{self.edge.api}{path}"
        async with httpx.AsyncClient(verify=trust, timeout=5, trust_env=False) as client:
            return await client.request(method, url, json=body, headers={"authorization": f"Bearer {token}"})

    async def everything_is_true(self) -> None:
        """Wait until each acknowledged name is served with the page it was given last."""
        roots = ssl.create_default_context(cafile=self.edge.state / "ca/root.pem")
        roots.load_verify_locations(cadata=self.authority.root())
        for name, path in self.declared.items():
            await within(60, self._leads, name, path, roots, about=self.kills)

    async def _leads(self, name: str, path: str, trust: ssl.SSLContext) -> bool:
        with suppress(Failed):
            seen = await visit(self.edge.https, name, trust=trust, timeout=10.0)
            return seen.status == 308 and seen.headers.get("location", "").endswith(path)
        return False

    def unexcused(self) -> list[tuple[float, str]]:
        """Give who was turned away though an Envoy was there; who had just come when it died is excused."""
        return [
            (at, what)
            for at, what in self.turned_away
            if not any(since - CUT_OFF <= at <= until for since, until in self.away)
        ]

    def cost_nothing(self, orders: int, issued: int) -> None:
        """See that nobody was turned away and nothing was ordered twice; the figures are those of before."""
        print(self.visits, "visits,", len(self.turned_away), "turned away;", len(self.declared), "declared;",
              self.kills)  # fmt: skip
        assert self.unexcused() == []
        assert self.visits > 10 * len(self.kills)
        assert len(self.ordered) >= 1
        assert self.authority.orders() - orders <= len(self.ordered) + 1, "one may be under way at the end"
        assert self.authority.issued() - issued <= len(self.ordered) + 1


async def within(
    seconds: float, true: Callable[..., Awaitable[bool]], *values: object, about: object = ""
) -> None:
    """Wait until it is true of these values; ``about`` is said where it does not come to be."""
    deadline = time.monotonic() + seconds
    while not await true(*values):
        said = f"{true.__name__} {values} {about}"
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {said}"
        await asyncio.sleep(0.1)


async def served(edge: Edge) -> None:
    """Wait until the names that visitors come for have been served once."""
    await edge.serves(EAGER)
    await edge.serves(ON_DEMAND)
