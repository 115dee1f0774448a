"""The steps of the demo that only root can show: low ports, a root action, backends behind tunnels."""

from __future__ import annotations

import asyncio
import pwd
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from edgeward.cli.demo import customers, declared
from edgeward.cli.demo.rooted import ACTION
from edgeward.cli.demo.step import Row, Step, expect, in_seconds
from edgeward.cli.demo.visit import Failed, trusting, visit
from edgeward.cli.demo.world import World, until

_NET_BIND_SERVICE = 10


async def low_ports(world: World) -> list[Row]:
    """See as whom Envoy listens, and what it could do beside."""
    said = _status(world.envoy_pid())
    uid, capabilities = int(said["Uid"].split()[0]), int(said["CapEff"], 16)
    expect(uid != 0, "Envoy is root")
    expect(capabilities == 1 << _NET_BIND_SERVICE, f"Envoy has the capabilities {capabilities:x}")
    expect(said["NoNewPrivs"].strip() == "1", "Envoy could get more")
    ports = f":{world.ports.http} and :{world.ports.https}"
    taken = " and :".join(str(low) for low in (80, 443) if low not in (world.ports.http, world.ports.https))
    instead = f"; another program has :{taken}" if taken else ""
    return [Row(ports, f"Envoy is {pwd.getpwuid(uid).pw_name}, who is not root{instead}", "")]


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


async def root_action(world: World) -> list[Row]:
    """Have rootd do what the operator allows, asked over the API."""
    path, begun = f"/v1/actions/{ACTION}/run", time.monotonic()
    said = await _posted(world, path)
    expect(said.get("exit") == 0 and said.get("output", "").strip() == "root", f"it gave {said}")
    return [Row(f"POST {path}", "rootd ran `id -un`: root", in_seconds(time.monotonic() - begun))]


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
        after = in_seconds(time.monotonic() - begun)
        rows.append(Row(f"{name}.example", body.partition(" for ")[0], f"after {after}"))
    first = next(iter(peers))
    for what, status, result in (("terminate", 503, "503 at once"), ("initiate", 200, "served again")):
        begun = time.monotonic()
        await _posted(world, f"/v1/vpn/{first}/{what}")
        await _answered(world, f"{first}.example", "", status, 20.0)
        rows.append(Row(f"{what} {first}'s tunnel", result, f"after {in_seconds(time.monotonic() - begun)}"))
    return rows


async def _answered(world: World, name: str, body: str, status: int, timeout: float) -> str:
    """Wait until a name gives this status and a body that begins so, and give the body."""
    seen = ""

    async def answers() -> bool:
        nonlocal seen
        with suppress(Failed):
            found = await visit(world.ports.https, name, trust=trusting(world.root))
            seen = found.body.strip()
            return found.status == status and seen.startswith(body)
        return False

    await until(answers, timeout, f"status {status} of {name}")
    return seen


async def _posted(world: World, path: str) -> dict[str, Any]:
    """Ask the API; what is not available now, as until a node is connected anew, is asked for again."""
    token = (world.state / "admin.token").read_text().strip()
    url, headers = f"https://127.0.0.1:{world.ports.api}{path}", {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(verify=trusting(world.root), trust_env=False, timeout=20.0) as client:
        end = time.monotonic() + 20.0
        while (answer := await client.post(url, json={}, headers=headers)).status_code == 503:
            if time.monotonic() > end:
                break
            await asyncio.sleep(0.1)
    expect(answer.is_success, f"POST {path} gave {answer.status_code}: {answer.text[:200]}")
    said = answer.json() if answer.content else {}
    return said if isinstance(said, dict) else {}


AS_ROOT: tuple[tuple[str, Step], ...] = (
    ("Low ports without root", low_ports),
    ("A root action: allowed by the operator's file, done by rootd", root_action),
    ("Backends behind IPsec tunnels, both at 192.168.4.10", behind_tunnels),
)
