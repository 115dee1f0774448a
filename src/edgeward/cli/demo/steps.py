"""The steps of the demo that need no root: each checks what came of it, and gives what it measured."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx

from edgeward.cli.demo import declared
from edgeward.cli.demo.step import Row, Step, Wrong, expect, in_milliseconds, in_seconds
from edgeward.cli.demo.visit import Failed, Visit, Visitors, trusting, visit
from edgeward.cli.demo.world import World, until

_VISITS_A_SECOND = 50


async def start(world: World) -> list[Row]:
    """Wait for everything to be ready, and for the eager certificates."""
    begun = time.monotonic()

    async def ready() -> bool:
        return world.is_ready()

    await until(ready, 60.0, "readiness of controller, node and Envoy")
    if world.ended.done():
        raise Wrong(f"edgeward up ended with exit code {world.ended.result()}")
    return [Row("controller, node and Envoy", "ready", in_seconds(time.monotonic() - begun))]


async def eager(world: World) -> list[Row]:
    """Visit domains whose certificates were made when they were declared."""
    trust = trusting(world.root)
    seconds = await until(lambda: _is_served(world, trust, declared.EAGER[-1]), 20.0, "an eager certificate")
    rows = [Row("all certificates", "there after that", in_seconds(seconds))]
    for name in declared.EAGER:
        first, second = await _twice(world, trust, name)
        rows.append(Row(name, "served, verified", _handshakes(first, second)))
    plain = await visit(world.ports.http, declared.EAGER[0], "/page?x=1")
    expect(plain.status in (301, 308), f"plain HTTP gave {plain.status}, not a redirect")
    location = plain.headers.get("location", "")
    expect(location.startswith(f"https://{declared.EAGER[0]}"), f"the redirect leads to '{location}'")
    return [*rows, Row(f"http://{declared.EAGER[0]}", f"{plain.status} to https", "")]


async def on_demand(world: World) -> list[Row]:
    """Visit names that nobody declared one by one and that have no certificate yet."""
    trust, rows = trusting(world.root), []
    for name in declared.ON_DEMAND:
        expect(
            await _certificate_status(world, name) == 404, f"{name} had a certificate before its first visit"
        )
        first, second = await _twice(world, trust, name)
        expect(
            await _certificate_status(world, name) == 200, f"{name} has no certificate after its first visit"
        )
        rows.append(Row(name, "made at the handshake", _handshakes(first, second)))
    return rows


async def unknown(world: World) -> list[Row]:
    """Visit names that no domain covers."""
    rows = []
    for name in declared.UNKNOWN:
        try:
            await visit(world.ports.https, name, trust=trusting(world.root))
        except Failed as refusal:
            expect("refused" in str(refusal), f"{name}: {refusal}")
            rows.append(Row(name, "handshake refused", in_milliseconds(refusal.after)))
        else:
            raise Wrong(f"{name} was served although no domain covers it")
    return rows


async def moving(world: World) -> list[Row]:
    """Give a backend's name another address, and see visitors arrive there."""
    trust = trusting(world.root)

    async def arrives(place: str) -> bool:
        with suppress(Failed):
            return place in (await visit(world.ports.https, declared.MOVING, trust=trust)).body
        return False

    await until(lambda: arrives(declared.OLD_PLACE), 15.0, "a visit to the backend's first address")
    async with _visited(world, (declared.MOVING,)) as visitors:
        world.names.addresses[declared.MOVING_BACKEND] = declared.NEW_PLACE
        seconds = await until(lambda: arrives(declared.NEW_PLACE), 15.0, "a visit to the new address")
    return [Row(declared.MOVING, _all_served(visitors), f"after {in_seconds(seconds)}")]


async def change(world: World) -> list[Row]:
    """Declare one more route while visitors come."""
    trust = trusting(world.root)

    async def redirects() -> bool:
        with suppress(Failed):
            seen = await visit(world.ports.https, declared.EAGER[0], "/old", trust=trust)
            return seen.status == 308 and seen.headers.get("location", "").endswith("/new")
        return False

    expect(not await redirects(), "the new route was there before it was declared")
    async with _visited(world, declared.EAGER) as visitors:
        world.declare(routes=[declared.NEW_ROUTE])
        seconds = await until(redirects, 15.0, "the new route")
    return [Row(f"{declared.EAGER[0]}/old", _all_served(visitors), f"after {in_seconds(seconds)}")]


async def kill(world: World) -> list[Row]:
    """Kill the controller while visitors come, and visit a new name once it is back."""
    before, envoy = world.program("controller"), world.envoy_pid()
    async with _visited(world, (*declared.EAGER, *declared.ON_DEMAND)) as visitors:
        begun = time.monotonic()
        os.kill(before["pid"], signal.SIGKILL)
        await asyncio.sleep(1.0)
        trust = trusting(world.root)
        await until(lambda: _is_served(world, trust, declared.LATE), 30.0, "a new name's certificate")
        seconds = time.monotonic() - begun
    after = world.program("controller")
    expect(after["pid"] not in (None, before["pid"]), "the controller was not started again")
    expect(world.envoy_pid() == envoy, "Envoy was started again, too")
    return [
        Row(f"visitors, {_VISITS_A_SECOND} a second", _all_served(visitors), ""),
        Row(declared.LATE, "made at the handshake", f"after {in_seconds(seconds)}"),
    ]


async def ordered(world: World) -> list[Row]:
    """Visit a name whose certificate an ACME authority issues at the first handshake."""
    if world.authority is None:
        return [Row("left out", "pebble is not installed", "")]
    trust = trusting(world.root)
    trust.load_verify_locations(cadata=world.authority.root)
    first, second = await _twice(world, trust, declared.ORDERED)
    return [Row(declared.ORDERED, "ordered by ACME (RFC 8555)", _handshakes(first, second))]


_HANDSHAKES = "first → second handshake"

STEPS: tuple[tuple[str, Step], ...] = (
    ("edgeward up", start),
    (f"Declared names: {_HANDSHAKES}", eager),
    (f"Names without a certificate: {_HANDSHAKES}", on_demand),
    (f"A custom domain, from an ACME authority: {_HANDSHAKES}", ordered),
    ("Names nobody declared", unknown),
    (f"A backend's name moves from {declared.OLD_PLACE} to {declared.NEW_PLACE} (TTL 1 s)", moving),
    ("A route more in the file, in force", change),
    ("kill -9 of the controller: Envoy goes on, new names are back", kill),
)


async def _twice(world: World, trust: ssl.SSLContext, name: str) -> tuple[Visit, Visit]:
    first = await visit(world.ports.https, name, trust=trust)
    second = await visit(world.ports.https, name, trust=trust)
    for seen in (first, second):
        expect(seen.status == 200 and "Hello" in seen.body, f"{name} gave status {seen.status}")
    return first, second


async def _is_served(world: World, trust: ssl.SSLContext, name: str) -> bool:
    with suppress(Failed):
        return (await visit(world.ports.https, name, trust=trust)).status == 200
    return False


async def _certificate_status(world: World, name: str) -> int:
    token = (world.state / "admin.token").read_text().strip()
    async with httpx.AsyncClient(verify=trusting(world.root), trust_env=False, timeout=10.0) as client:
        address = f"https://127.0.0.1:{world.ports.api}/v1/certificates/{name}"
        return (await client.get(address, headers={"Authorization": f"Bearer {token}"})).status_code


@asynccontextmanager
async def _visited(world: World, names: tuple[str, ...]) -> AsyncIterator[Visitors]:
    """Have visitors come all the time; afterwards none may have been turned away."""
    visitors = Visitors(world.ports.https, names, trusting(world.root), _VISITS_A_SECOND)
    coming = asyncio.create_task(visitors.keep_visiting())
    try:
        await asyncio.sleep(0.5)
        yield visitors
        await asyncio.sleep(0.5)
    finally:
        coming.cancel()
        await visitors.finish()
    if visitors.failures:
        total = visitors.served + len(visitors.failures)
        raise Wrong(f"{len(visitors.failures)} of {total} visits failed, the first: {visitors.failures[0]}")


def _all_served(visitors: Visitors) -> str:
    return f"{visitors.served} of {visitors.served} visits served"


def _handshakes(first: Visit, second: Visit) -> str:
    return f"{first.handshake * 1000:.1f} → {in_milliseconds(second.handshake)}"
