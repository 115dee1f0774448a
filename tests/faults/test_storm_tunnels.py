"""The storm goes over tunnels too: rootd, its keeper, IKE daemons, relays and namespaces are killed as well.

At the end all tunnels that are declared are up in the way that they are declared, nothing is left of those
that were deleted, no visitor came to another customer, and not a packet of theirs was seen in clear.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.customers import LOCAL, NETWORKS, WEB, Customer
from tests.faults.kept_rootd import KeptRootd
from tests.faults.storm import served, within
from tests.faults.tunnel_storm import TunnelStorm
from tests.integration.acme import Pebble, pebble
from tests.integration.rootd_rig import readable_python
from tests.integration.tunnel_rig import MARKS
from tests.integration.up_rig import Edge, started
from tests.integration.vpn_rig import wide_area, wire

pytestmark = MARKS
LASTING, FLEETING = ("berlin", "paris"), ("oslo", "rome")
Needs = Callable[[str], str]


GoesOn = Callable[[TunnelStorm], Awaitable[None]]


def over_tunnels(
    needs: Needs, goes_on: GoesOn, seconds: float, *, seed: int = 0, fleeting: int = 0, pause: float = 5.0,
    order: Sequence[str] = (),
) -> None:  # fmt: skip
    """Have it go on at an edge with customers; ``fleeting``: how many come and go. Nothing may be seen in clear."""
    place = Path(tempfile.mkdtemp(prefix="ew-", dir="/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        rootd = KeptRootd(place, stack.enter_context(readable_python(needs)))
        wan = stack.enter_context(wide_area(place / "wan"))
        names = (*LASTING, *FLEETING[:fleeting])
        customers = [Customer(name, wan.site(number)) for number, name in enumerate(names, 1)]
        for one in customers:
            stack.enter_context(one.there())
        lasting, coming = customers[: len(LASTING)], customers[len(LASTING) :]

        def on_host() -> None:
            """Be the edge's host: whatever is started from here is in its network."""
            with begun(needs, place, rootd) as (edge, authority):
                found = TunnelStorm(
                    edge, authority, random.Random(seed), rootd=rootd, lasting=lasting, fleeting=coming,
                    pause=pause, order=list(order), patient=bool(order),
                )  # fmt: skip
                asyncio.run(gone_on(found, goes_on))

        with wire(wan.router, "", LOCAL, *NETWORKS) as seen:
            wan.router.inside(on_host, seconds)
        assert seen == []


@contextmanager
def begun(needs: Needs, place: Path, rootd: KeptRootd) -> Iterator[tuple[Edge, Pebble]]:
    (place / "pebble").mkdir()
    with ExitStack() as stack:
        authority = stack.enter_context(pebble(place / "pebble", needs, always_valid=True))
        stack.callback(forget, rootd)
        stack.enter_context(rootd.kept())
        acme = {"directory": authority.directory, "ca_file": str(authority.ca_file)}
        environment = {
            "EDGEWARD_DNS_SERVERS": authority.names.address,
            "EDGEWARD_ROOTD_SOCKET": rootd.socket,
        }
        declared = {"issuers": [{"name": "pebble", "acme": acme}]}
        yield stack.enter_context(started(declared, environment)), authority


async def gone_on(found: TunnelStorm, goes_on: GoesOn) -> None:
    await served(found.edge)
    for one in (*found.lasting, *found.fleeting[:1]):
        await found.declare(one)
    for one in found.lasting:
        host, service = f"{one.name}.example", {"backends": [{"url": f"http://{WEB}", "via": one.name}]}
        await found.say("PUT", f"/v1/services/{one.name}", service)
        await found.say("PUT", f"/v1/domains/{host}", {})
        await found.say("PUT", f"/v1/routes/{one.name}", {"hosts": [host], "service": one.name})
    for one in found.lasting:
        await within(60, found.crosses, one.name)
    await goes_on(found)


def forget(rootd: KeptRootd) -> None:
    """Take away what is left, by a rootd of our own."""
    with rootd.serving("--user", "0"):
        for path in Path(rootd.socket).parent.glob("namespaces/vpn-*"):
            rootd.ask("remove-namespace", namespace=path.name)


def raging(kills: int) -> GoesOn:
    async def goes_on(found: TunnelStorm) -> None:
        orders, issued = found.authority.orders(), found.authority.issued()
        await found.rage(kills)
        found.cost_nothing(orders, issued)

    return goes_on


@pytest.mark.timeout(400)
def test_a_short_storm_over_tunnels_costs_nothing(needs: Needs) -> None:
    order = ("charon berlin", "rootd", "node", "envoy", "relay paris", "controller")
    over_tunnels(needs, raging(len(order)), 380, fleeting=1, pause=1.0, order=order)


@pytest.mark.slow
@pytest.mark.timeout(1900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_long_storm_over_tunnels_costs_nothing(needs: Needs, seed: int) -> None:
    print("seed", seed)
    over_tunnels(needs, raging(80), 1800, seed=seed, fleeting=2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_rootd_that_hangs_keeps_nobody_from_what_is_up_and_is_told_of(needs: Needs) -> None:
    async def goes_on(found: TunnelStorm) -> None:
        rootd, node = found.pid("rootd"), found.pid("node")
        crossing = asyncio.create_task(found.cross_for_ever())
        os.kill(rootd, signal.SIGSTOP)
        try:
            await within(60, says, found, "does not answer")
            name = (await node_of(found))["name"]
            explained = (await found.ask("GET", f"/v1/explain/nodes/{name}")).json()
            await found.say("PUT", "/v1/vpn/berlin", found.lasting[0].declared() | {"mtu": 1300})
            await asyncio.sleep(40)  # longer than anything may wait for it
        finally:
            os.kill(rootd, signal.SIGCONT)
        await within(60, says, found, "")
        await found.abate([crossing])
        last = explained["steps"][-1]
        assert (last["state"], last["step"]) == ("broken", "rootd")
        assert "does not answer" in last["cause"]
        assert found.pid("node") == node
        assert (found.missed, found.wrong) == ([], [])
        assert found.carried > 100

    over_tunnels(needs, goes_on, 580)


async def says(found: TunnelStorm, words: str) -> bool:
    """Whether status says this of the node's rootd; with blank words: nothing."""
    said = ((await node_of(found))["report"] or {})["rootd"]
    return words in said if words else not said


async def node_of(found: TunnelStorm) -> dict[str, Any]:
    (node,) = (await found.ask("GET", "/v1/status")).json()["nodes"]
    return dict(node)
