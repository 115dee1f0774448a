"""The storm goes over tunnels too: rootd, its keeper, IKE daemons, relays and namespaces are killed as well.

At the end all tunnels that are declared are up in the way that they are declared, nothing is left of those
that were deleted, no visitor came to another customer, and not a packet of theirs was seen in clear.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.customers import LOCAL, NETWORKS, WEB, Customer
from tests.faults.kept_rootd import KeptRootd
from tests.faults.storm import served, within
from tests.faults.tunnel_storm import TunnelStorm
from tests.integration.acme import pebble
from tests.integration.rootd_rig import readable_python
from tests.integration.tunnel_rig import MARKS
from tests.integration.up_rig import started
from tests.integration.vpn_rig import Wan, wide_area, wire

pytestmark = MARKS
LASTING, FLEETING = ("berlin", "paris"), ("oslo", "rome")
Needs = Callable[[str], str]


def storm(
    needs: Needs,
    seed: int,
    kills: int,
    seconds: float,
    *,
    fleeting: int,
    pause: float,
    order: Sequence[str] = (),
) -> None:
    """Have one of so many kills; ``fleeting``: how many customers come and go; the others as TunnelStorm has
    them."""
    print("seed", seed)
    place = Path(tempfile.mkdtemp(prefix="ew-", dir="/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        rootd = KeptRootd(place, stack.enter_context(readable_python(needs)))
        wan = stack.enter_context(wide_area(place / "wan"))
        names = (*LASTING, *FLEETING[:fleeting])
        customers = [Customer(name, wan.site(number)) for number, name in enumerate(names, 1)]
        for one in customers:
            stack.enter_context(one.there())
        with wire(wan.router, "", LOCAL, *NETWORKS) as seen:
            on_host = Host(needs, wan, rootd, customers)
            wan.router.inside(lambda: on_host.storm(seed, kills, pause, order), seconds)
        assert seen == []


class Host:
    """The edge's own: whatever is started from here is in its network."""

    def __init__(self, needs: Needs, wan: Wan, rootd: KeptRootd, customers: Sequence[Customer]) -> None:
        self.needs, self.place, self.rootd = needs, wan.place.parent, rootd
        self.lasting, self.fleeting = customers[: len(LASTING)], customers[len(LASTING) :]

    def storm(self, seed: int, kills: int, pause: float, order: Sequence[str]) -> None:
        with ExitStack() as stack:
            directory = self.place / "pebble"
            directory.mkdir()
            authority = stack.enter_context(pebble(directory, self.needs, always_valid=True))
            orders, issued = authority.orders(), authority.issued()
            stack.callback(self.forget)
            stack.enter_context(self.rootd.kept())
            acme = {"directory": authority.directory, "ca_file": str(authority.ca_file)}
            declared = {"issuers": [{"name": "pebble", "acme": acme}]}
            environment = {
                "EDGEWARD_DNS_SERVERS": authority.names.address, "EDGEWARD_ROOTD_SOCKET": self.rootd.socket,
            }  # fmt: skip
            edge = stack.enter_context(started(declared, environment))
            found = TunnelStorm(
                edge, authority, random.Random(seed), rootd=self.rootd, lasting=self.lasting,
                fleeting=self.fleeting, pause=pause, order=list(order),
            )  # fmt: skip
            asyncio.run(self.raged(found, kills))
            found.cost_nothing(orders, issued)

    async def raged(self, found: TunnelStorm, kills: int) -> None:
        await served(found.edge)
        for one in (*self.lasting, *self.fleeting[:1]):
            await found.declare(one)
        for one in self.lasting:
            service = {"backends": [{"url": f"http://{WEB}", "via": one.name}]}
            await found.say("PUT", f"/v1/services/{one.name}", service)
            await found.say("PUT", f"/v1/domains/{one.name}.example", {})
            await found.say(
                "PUT", f"/v1/routes/{one.name}", {"hosts": [f"{one.name}.example"], "service": one.name}
            )
        for one in self.lasting:
            await within(60, found.crosses, one.name)
        await found.rage(kills)

    def forget(self) -> None:
        """Take away what is left, by a rootd of our own."""
        with self.rootd.serving("--user", "0"):
            for path in Path(self.rootd.socket).parent.glob("namespaces/vpn-*"):
                self.rootd.ask("remove-namespace", namespace=path.name)


@pytest.mark.timeout(300)
def test_a_short_storm_over_tunnels_costs_nothing(needs: Needs) -> None:
    order = ("charon berlin", "rootd", "node", "envoy", "relay paris", "controller")
    storm(needs, 11, len(order), 280, fleeting=1, pause=1.0, order=order)


@pytest.mark.slow
@pytest.mark.timeout(1900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_long_storm_over_tunnels_costs_nothing(needs: Needs, seed: int) -> None:
    storm(needs, seed, 80, 1800, fleeting=2, pause=5.0)
