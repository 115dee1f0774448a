"""The steps of the demo: each does something, checks what came of it, and gives what it measured."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from edgeward.cli.demo import customers, declared
from edgeward.cli.demo.rooted import ACTION
from edgeward.cli.demo.visit import Failed, Visit, Visitors, trusting, visit
from edgeward.cli.demo.world import World, until

_VISITS_A_SECOND = 50


class Wrong(Exception):
    """What should have happened did not."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    result: str
    measured: str


Step = Callable[[World], Awaitable[list[Row]]]


async def start(world: World) -> list[Row]:
    """Wait for everything to be ready, and for the eager certificates."""
    begun = time.monotonic()

    async def ready() -> bool:
        return world.is_ready()

    await until(ready, 60.0, "readiness of controller, node and Envoy")
    if world.ended.done():
        raise Wrong(f"edgeward up ended with exit code {world.ended.result()}")
    return [Row("controller, node and Envoy", "ready", _seconds(time.monotonic() - begun))]


async def eager(world: World) -> list[Row]:
    """Visit domains whose certificates were made when they were declared."""
    trust = _trust(world)
    seconds = await until(lambda: _is_served(world, trust, declared.EAGER[-1]), 20.0, "an eager certificate")
    rows = [Row("all certificates", "there after that", _seconds(seconds))]
    for name in declared.EAGER:
        first, second = await _twice(world, trust, name)
        rows.append(Row(name, "served, verified", _handshakes(first, second)))
    plain = await visit(world.ports.http, declared.EAGER[0], "/page?x=1")
    _expect(plain.status in (301, 308), f"plain HTTP gave {plain.status}, not a redirect")
    location = plain.headers.get("location", "")
    _expect(location.startswith(f"https://{declared.EAGER[0]}"), f"the redirect leads to '{location}'")
    return [*rows, Row(f"http://{declared.EAGER[0]}", f"{plain.status} to https", "")]


async def on_demand(world: World) -> list[Row]:
    """Visit names that nobody declared one by one and that have no certificate yet."""
    trust, rows = _trust(world), []
    for name in declared.ON_DEMAND:
        _expect(
            await _certificate_status(world, name) == 404, f"{name} had a certificate before its first visit"
        )
        first, second = await _twice(world, trust, name)
        _expect(
            await _certificate_status(world, name) == 200, f"{name} has no certificate after its first visit"
        )
        rows.append(Row(name, "made at the handshake", _handshakes(first, second)))
    return rows


async def unknown(world: World) -> list[Row]:
    """Visit names that no domain covers."""
    rows = []
    for name in declared.UNKNOWN:
        try:
            await visit(world.ports.https, name, trust=_trust(world))
        except Failed as refusal:
            _expect("refused" in str(refusal), f"{name}: {refusal}")
            rows.append(Row(name, "handshake refused", _milliseconds(refusal.after)))
        else:
            raise Wrong(f"{name} was served although no domain covers it")
    return rows


async def moving(world: World) -> list[Row]:
    """Give a backend's name another address, and see visitors arrive there."""
    trust = _trust(world)

    async def arrives(place: str) -> bool:
        with suppress(Failed):
            return place in (await visit(world.ports.https, declared.MOVING, trust=trust)).body
        return False

    await until(lambda: arrives(declared.OLD_PLACE), 15.0, "a visit to the backend's first address")
    async with _visited(world, (declared.MOVING,)) as visitors:
        world.names.addresses[declared.MOVING_BACKEND] = declared.NEW_PLACE
        seconds = await until(lambda: arrives(declared.NEW_PLACE), 15.0, "a visit to the new address")
    return [Row(declared.MOVING, _all_served(visitors), f"after {_seconds(seconds)}")]


async def change(world: World) -> list[Row]:
    """Declare one more route while visitors come."""
    trust = _trust(world)

    async def redirects() -> bool:
        with suppress(Failed):
            seen = await visit(world.ports.https, declared.EAGER[0], "/old", trust=trust)
            return seen.status == 308 and seen.headers.get("location", "").endswith("/new")
        return False

    _expect(not await redirects(), "the new route was there before it was declared")
    async with _visited(world, declared.EAGER) as visitors:
        world.declare(routes=[declared.NEW_ROUTE])
        seconds = await until(redirects, 15.0, "the new route")
    return [Row(f"{declared.EAGER[0]}/old", _all_served(visitors), f"after {_seconds(seconds)}")]


async def kill(world: World) -> list[Row]:
    """Kill the controller while visitors come, and visit a new name once it is back."""
    before, envoy = world.program("controller"), world.envoy_pid()
    async with _visited(world, (*declared.EAGER, *declared.ON_DEMAND)) as visitors:
        begun = time.monotonic()
        os.kill(before["pid"], signal.SIGKILL)
        await asyncio.sleep(1.0)
        trust = _trust(world)
        await until(lambda: _is_served(world, trust, declared.LATE), 30.0, "a new name's certificate")
        seconds = time.monotonic() - begun
    after = world.program("controller")
    _expect(after["pid"] not in (None, before["pid"]), "the controller was not started again")
    _expect(world.envoy_pid() == envoy, "Envoy was started again, too")
    return [
        Row(f"visitors, {_VISITS_A_SECOND} a second", _all_served(visitors), ""),
        Row(declared.LATE, "made at the handshake", f"after {_seconds(seconds)}"),
    ]


async def ordered(world: World) -> list[Row]:
    """Visit a name whose certificate an ACME authority issues at the first handshake."""
    if world.authority is None:
        return [Row("left out", "pebble is not installed", "")]
    trust = trusting(world.root)
    trust.load_verify_locations(cadata=world.authority.root)
    first, second = await _twice(world, trust, declared.ORDERED)
    return [Row(declared.ORDERED, "ordered by ACME (RFC 8555)", _handshakes(first, second))]


async def low_ports(world: World) -> list[Row]:
    """See as whom Envoy listens, and what it could do beside."""
    said = _status(world.envoy_pid())
    uid, capabilities = int(said["Uid"].split()[0]), int(said["CapEff"], 16)
    _expect(uid != 0, "Envoy is root")
    _expect(capabilities == 1 << _NET_BIND_SERVICE, f"Envoy has the capabilities {capabilities:x}")
    _expect(said["NoNewPrivs"].strip() == "1", "Envoy could get more")
    ports = f":{world.ports.http} and :{world.ports.https}"
    return [Row(ports, f"Envoy is {pwd.getpwuid(uid).pw_name}, who is not root", "")]


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


async def root_action(world: World) -> list[Row]:
    """Have rootd do what the operator allows, asked over the API."""
    begun = time.monotonic()
    said = await _posted(world, f"/v1/actions/{ACTION}/run")
    _expect(said.get("exit") == 0 and said.get("output", "").strip() == "root", f"it gave {said}")
    return [
        Row(f"POST /v1/actions/{ACTION}/run", "rootd ran `id -un`: root", _seconds(time.monotonic() - begun))
    ]


async def behind_tunnels(world: World) -> list[Row]:
    """Visit servers with one and the same private address, behind tunnels to two customers."""
    assert world.rooted is not None
    world.others.append(await world.rooted.customers_come())
    begun = time.monotonic()
    peers = {customer.name: customer.outside for customer in customers.CUSTOMERS}
    world.declare(**declared.tunnels("10.77.0.0/24", peers, customers.WEB))
    rows = []
    for name in peers:
        body = await _answered(world, f"{name}.example", name, 200, 45.0)
        rows.append(
            Row(f"{name}.example", body.partition(" for ")[0], f"after {_seconds(time.monotonic() - begun)}")
        )
    first = next(iter(peers))
    for what, status, result in (("terminate", 503, "503 at once"), ("initiate", 200, "served again")):
        begun = time.monotonic()
        await _posted(world, f"/v1/vpn/{first}/{what}")
        await _answered(world, f"{first}.example", "", status, 20.0)
        rows.append(Row(f"{what} {first}'s tunnel", result, f"after {_seconds(time.monotonic() - begun)}"))
    return rows


async def _answered(world: World, name: str, body: str, status: int, timeout: float) -> str:
    """Wait until a name gives this status and a body that begins so, and give the body."""
    seen = ""

    async def answers() -> bool:
        nonlocal seen
        with suppress(Failed):
            found = await visit(world.ports.https, name, trust=_trust(world))
            seen = found.body.strip()
            return found.status == status and seen.startswith(body)
        return False

    await until(answers, timeout, f"status {status} of {name}")
    return seen


async def _posted(world: World, path: str) -> dict[str, Any]:
    """Ask the API; what is not available now, as until a node is connected anew, is asked for again."""
    token = (world.state / "admin.token").read_text().strip()
    url, headers = f"https://127.0.0.1:{world.ports.api}{path}", {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(verify=_trust(world), trust_env=False, timeout=20.0) as client:
        end = time.monotonic() + 20.0
        while (answer := await client.post(url, json={}, headers=headers)).status_code == 503:
            if time.monotonic() > end:
                break
            await asyncio.sleep(0.1)
    _expect(answer.is_success, f"POST {path} gave {answer.status_code}: {answer.text[:200]}")
    said = answer.json() if answer.content else {}
    return said if isinstance(said, dict) else {}


_NET_BIND_SERVICE = 10
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
AS_ROOT: tuple[tuple[str, Step], ...] = (
    ("Low ports without root", low_ports),
    ("A root action: allowed by the operator's file, done by rootd", root_action),
    ("Backends behind IPsec tunnels, both at 192.168.4.10", behind_tunnels),
)


async def _twice(world: World, trust: ssl.SSLContext, name: str) -> tuple[Visit, Visit]:
    first = await visit(world.ports.https, name, trust=trust)
    second = await visit(world.ports.https, name, trust=trust)
    for seen in (first, second):
        _expect(seen.status == 200 and "Hello" in seen.body, f"{name} gave status {seen.status}")
    return first, second


async def _is_served(world: World, trust: ssl.SSLContext, name: str) -> bool:
    with suppress(Failed):
        return (await visit(world.ports.https, name, trust=trust)).status == 200
    return False


async def _certificate_status(world: World, name: str) -> int:
    token = (world.state / "admin.token").read_text().strip()
    async with httpx.AsyncClient(verify=_trust(world), trust_env=False, timeout=10.0) as client:
        address = f"https://127.0.0.1:{world.ports.api}/v1/certificates/{name}"
        return (await client.get(address, headers={"Authorization": f"Bearer {token}"})).status_code


@asynccontextmanager
async def _visited(world: World, names: tuple[str, ...]) -> AsyncIterator[Visitors]:
    """Have visitors come all the time; afterwards none may have been turned away."""
    visitors = Visitors(world.ports.https, names, _trust(world), _VISITS_A_SECOND)
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


def _trust(world: World) -> ssl.SSLContext:
    return trusting(world.root)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Wrong(otherwise)


def _all_served(visitors: Visitors) -> str:
    return f"{visitors.served} of {visitors.served} visits served"


def _handshakes(first: Visit, second: Visit) -> str:
    return f"{first.handshake * 1000:.1f} → {_milliseconds(second.handshake)}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"
