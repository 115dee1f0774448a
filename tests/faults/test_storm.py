"""Programs are killed at random while visitors come, an authority is ordered from and the declaration changes.

At the end everything acknowledged is there and served, no name was ordered twice, and nobody who came while
Envoy lived was turned away.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import pytest

from edgeward.cli.demo.visit import Failed, trusting, visit
from tests.integration.acme import Needs, Pebble, pebble
from tests.integration.processes import is_alive
from tests.integration.up_rig import EAGER, ON_DEMAND, Edge, started

_PROGRAMS: Final = ("controller", "node", "envoy", "launcher")
_SERVED_BY: Final = ("envoy", "launcher")
"""While one of these is away nobody listens."""
_VISITS_A_SECOND: Final = 20
_CUT_OFF: Final = 1.0
"""Seconds that a visit may have taken already."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, needs: Needs) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), needs, always_valid=True) as made:
        yield made


@dataclass
class Storm:
    """What goes on during it, and what came of it. Times are of ``time.monotonic()``."""

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

    async def kill(self) -> None:
        """Kill one program, and wait for it to be back."""
        what = self.chance.choice(_PROGRAMS)
        pid, killed = self._pid(what), time.monotonic()
        assert pid > 0, f"{what} is not there; {self.kills}"
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.kills.append((killed, what))
        await within(60, lambda: self._back(what, pid), f"{what} after {self.kills}")
        if what in _SERVED_BY:
            self.away.append((killed, time.monotonic()))

    def _pid(self, what: str) -> int:
        if what == "envoy":
            return self.edge.envoy()
        return int(self.edge.program("envoy" if what == "launcher" else what)["pid"] or 0)

    async def _back(self, what: str, before: int) -> bool:
        with suppress(OSError, ValueError, StopIteration):  # what it reads is being written
            if self._pid(what) in (0, before) or not is_alive(self._pid(what)):
                return False
            if what not in _SERVED_BY:
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
            await self._put("domains", name, {"issuer": issuer})
            body = {"hosts": [name], "redirect": {"path": f"/{number}", "status": 308}}
            await self._put("routes", f"n{number}", body)
            self.declared[name] = f"/{number}"
            if issuer == "pebble":
                self.ordered.add(name)
            await asyncio.sleep(self.chance.uniform(0.2, 0.8))

    async def _put(self, kind: str, name: str, body: dict[str, Any]) -> None:
        """Have it declared, however often that has to be said; gives up only with the test."""
        while True:
            with suppress(httpx.HTTPError, OSError):
                answer = await self._ask("PUT", f"/v1/{kind}/{name}", body)
                if answer.is_success:
                    return
                assert answer.status_code in (429, 500, 502, 503, 504), answer.text
            await asyncio.sleep(0.1)

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
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
            await within(60, lambda name=name, path=path: self._leads(name, path, roots), f"{name} → {path}")

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
            if not any(since - _CUT_OFF <= at <= until for since, until in self.away)
        ]


async def within(seconds: float, true: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.1)


async def storm(authority: Pebble, seed: int, kills: int) -> None:
    print("seed", seed)
    acme = {"directory": authority.directory, "ca_file": str(authority.ca_file)}
    issuers = {"issuers": [{"name": "pebble", "acme": acme}]}
    orders, issued = authority.orders(), authority.issued()
    with started(issuers, {"EDGEWARD_DNS_SERVERS": authority.names.address}) as edge:
        await edge.serves(EAGER)
        await edge.serves(ON_DEMAND)
        found = Storm(edge, authority, random.Random(seed))
        tasks = [asyncio.create_task(work) for work in (found.visit_for_ever(), found.declare_for_ever())]
        for _ in range(kills):
            await asyncio.sleep(found.chance.uniform(0.1, 1.5))
            await found.kill()
            assert not any(task.done() for task in tasks), [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await found.everything_is_true()

    print(found.visits, "visits,", len(found.turned_away), "turned away;", len(found.declared), "declared;",
          found.kills)  # fmt: skip
    assert found.unexcused() == []
    assert found.visits > 10 * kills
    assert len(found.ordered) >= 1
    assert authority.orders() - orders <= len(found.ordered) + 1, "one may have been under way at the end"
    assert authority.issued() - issued <= len(found.ordered) + 1


@pytest.mark.timeout(240)
async def test_a_short_storm_costs_nothing(authority: Pebble) -> None:
    await storm(authority, seed=7, kills=4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_long_storm_costs_nothing(authority: Pebble, seed: int) -> None:
    await storm(authority, seed, kills=60)
