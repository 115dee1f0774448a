"""Libreswan and strongSwan with each other: to an IKE_SA on any kernel, with traffic on one that has ESP."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeward.errors import Unavailable
from edgeward.rootd.table import kernel
from edgeward.vpn.desired import Connection, Ike, Ipsec, Psk
from edgeward.vpn.driver import Driver
from edgeward.vpn.drivers.libreswan import driver as libreswan_driver
from edgeward.vpn.drivers.strongswan import driver as strongswan_driver
from tests import libreswan
from tests.integration.pluto import Pluto, pluto
from tests.integration.processes import until
from tests.integration.test_vpn_strongswan import Authority
from tests.integration.vpn_drivers import AES128, GCM, changed, connection, mirrored, state
from tests.integration.vpn_rig import (
    IS_ROOT,
    PLUGINS,
    Namespace,
    Site,
    has_charon,
    needs_root,
    ping,
    wide_area,
    wire,
)

pytestmark = [needs_root, pytest.mark.skipif(not has_charon(), reason="no charon-systemd here")]
HAS_ESP = IS_ROOT and kernel.has_esp()
needs_esp = pytest.mark.skipif(not HAS_ESP, reason="this kernel has no ESP; tests/uml has one")
DATA = PLUGINS.replace("kernel-libipsec ", "") if HAS_ESP else PLUGINS


Daemons = tuple[Namespace, Site, Site, Pluto, Path]


@dataclass
class Two:
    """``here`` is Libreswan's side."""

    router: Namespace
    here: Site
    there: Site
    pluto: Pluto
    swan_log: Path
    drivers: tuple[Driver, Driver]


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    place = tmp_path_factory.mktemp("i")
    libreswan.prefix()
    with wide_area(place) as wan:
        here, there = wan.site(1), wan.site(2)
        with pluto(here, place / "pluto") as mine, there.charon(DATA) as theirs:
            yield wan.router, here, there, mine, theirs.socket


@pytest.fixture
async def two(daemons: Daemons) -> AsyncIterator[Two]:
    router, here, there, mine, vici = daemons
    one = await libreswan_driver.opened(mine.place)
    other = await strongswan_driver.opened(vici)
    async with AsyncExitStack() as stack:
        for driver in (other, one):
            stack.push_async_callback(driver.close)
            stack.push_async_callback(_emptied, driver)
        yield Two(router, here, there, mine, vici.parent / "charon.log", (one, other))


async def _emptied(driver: Driver) -> None:
    for each in await driver.loaded():
        await driver.unload(each)


def of_version(version: int, **more: object) -> Connection:
    fields = {"ike": Ike(version=version, proposals=(AES128,))} | more
    if version == 1:  # it knows one pair of ids by an address, before any name is sent
        fields |= {"local_id": "198.51.1.2", "peer_id": "198.51.2.2"}
        fields |= {"ipsec": Ipsec(proposals=(AES128.model_copy(update={"groups": ("group14",)}),))}
    return connection(**fields)


@pytest.mark.parametrize("version", [2, 1])
@pytest.mark.parametrize("first", [0, 1], ids=["libreswan-begins", "strongswan-begins"])
async def test_they_believe_each_other(two: Two, version: int, first: int) -> None:
    one, seen = of_version(version), len(two.pluto.log())
    seen_there = len(two.swan_log.read_text())
    await two.drivers[0].load(one, None, initiate=False)
    await two.drivers[1].load(mirrored(one), None, initiate=False)
    with suppress(Unavailable):  # where this kernel has no ESP, it goes no further
        await two.drivers[first].initiate(one.id)

    until(
        lambda: (
            "established IKE SA" in two.pluto.log()[seen:] or "IKE SA established" in two.pluto.log()[seen:]
        ),
        what="an IKE_SA at Libreswan's side",
    )
    until(
        lambda: "IKE_SA" in (said := two.swan_log.read_text()[seen_there:]) and " established between" in said
    )


async def test_another_secret_is_said_to_be_one_on_both_sides(two: Two) -> None:
    one = connection()
    await two.drivers[1].load(mirrored(one), None, initiate=False)
    await two.drivers[0].load(changed(one, auth=Psk(secret="another one")), None, initiate=False)
    with pytest.raises(Unavailable, match="pre-shared keys differ"):
        await two.drivers[0].initiate(one.id)
    assert "pre-shared keys differ" in (await state(two.drivers[1], one, "error")).reason


@needs_esp
@pytest.mark.parametrize("version", [2, 1])
@pytest.mark.parametrize("first", [0, 1], ids=["libreswan-begins", "strongswan-begins"])
async def test_traffic_passes_both_ways_and_none_of_it_in_clear(two: Two, version: int, first: int) -> None:
    one = of_version(version)
    with wire(two.router, "site1", "10.1.0.0/24", "10.2.0.0/24") as clear:
        await two.drivers[0].load(one, None, initiate=False)
        await two.drivers[1].load(mirrored(one), None, initiate=False)
        await two.drivers[first].initiate(one.id)
        assert ping(two.here, two.here.inner, two.there.inner, 5) == 0
        assert ping(two.there, two.there.inner, two.here.inner, 5) == 0
    assert clear == []
    (child,) = (await state(two.drivers[0], one)).children
    assert child.bytes_in > 0 < child.bytes_out


@needs_esp
async def test_a_change_of_one_leaves_the_others_alone(two: Two) -> None:
    one, other = connection(1), connection(2)
    for each in (one, other):
        await two.drivers[1].load(mirrored(each), None, initiate=False)
        await two.drivers[0].load(each, None, initiate=True)
    before = {each.id: (await state(two.drivers[0], each)).children for each in (one, other)}
    after = changed(one, ipsec=Ipsec(proposals=(GCM,)))
    await two.drivers[1].load(mirrored(after), mirrored(one), initiate=False)
    await two.drivers[0].load(after, one, initiate=True)

    found = {each.id: (await state(two.drivers[0], each)).children for each in (one, other)}
    assert {c.spi_in for c in found[other.id]} == {c.spi_in for c in before[other.id]}
    assert {c.spi_in for c in found[one.id]}.isdisjoint({c.spi_in for c in before[one.id]})
    assert ping(two.here, two.here.inner, two.there.inner, 3) == 0


async def test_who_follows_is_let_go_when_the_daemon_ends(state_dir: Path) -> None:
    libreswan.prefix()
    with wide_area(state_dir / "wan") as wan, pluto(wan.site(1), state_dir / "pluto") as alone:
        driver = await libreswan_driver.opened(alone.place)
        following = asyncio.create_task(_all(driver))
        await asyncio.sleep(0.05)
        assert not following.done()
        os.kill(int((alone.place / "run" / "pluto.pid").read_text()), signal.SIGKILL)
        assert await asyncio.wait_for(following, 30) == []
        with pytest.raises(Unavailable):
            await driver.states()
        await driver.close()


async def _all(driver: Driver) -> list[str]:
    return [each async for each in driver.events()]


async def test_much_is_logged_and_none_of_it_is_a_secret(two: Two) -> None:
    one = connection(auth=Psk(secret="canary in a coal mine"))
    await two.drivers[0].verbosity(4)
    await two.drivers[1].load(mirrored(one), None, initiate=False)
    await two.drivers[0].load(one, None, initiate=False)
    with suppress(Unavailable):
        await two.drivers[0].initiate(one.id)
    await two.drivers[0].verbosity(1)
    wrote = [text for _, text in await two.drivers[0].lines(one.id, 1000)]
    assert any("initiating IKEv2" in text for text in wrote), wrote
    assert not any(text.startswith("| ") or "canary" in text for text in wrote)
    said = two.pluto.log()
    assert "| " in said
    assert "canary" not in said
    assert base64.b64encode(b"canary in a coal mine").decode() not in said
    assert b"canary".hex() not in said.replace(" ", "")


async def test_they_believe_each_others_certificates_and_nobody_elses(two: Two) -> None:
    authority, other = Authority("Edgeward tests"), Authority("somebody else")
    one = connection(auth=authority.proof("here-1.example"))
    theirs = changed(mirrored(one), auth=authority.proof("there-1.example"))
    seen = len(two.pluto.log())
    await two.drivers[1].load(theirs, None, initiate=False)
    await two.drivers[0].load(one, None, initiate=False)
    with suppress(Unavailable):
        await two.drivers[0].initiate(one.id)
    until(lambda: "established IKE SA" in two.pluto.log()[seen:], what=f"{two.pluto.log()[seen:]}")

    await two.drivers[0].load(
        changed(one, auth=other.proof("here-1.example", authority)), one, initiate=False
    )
    with pytest.raises(Unavailable):
        await two.drivers[0].initiate(one.id)
    assert "refused to believe us" in (await state(two.drivers[0], one, "error")).reason
    await two.drivers[0].unload(one.id)
    listed = subprocess.run(
        ["certutil", "-L", "-d", f"sql:{two.pluto.place}/own/nss"], capture_output=True, text=True, timeout=30
    )
    assert one.id not in listed.stdout
