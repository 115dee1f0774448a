"""The driver beside a server that keeps what it is told as charon does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgeward.errors import Invalid, NotFound
from edgeward.vpn.desired import Connection
from edgeward.vpn.drivers.strongswan import wording
from edgeward.vpn.drivers.strongswan.driver import StrongSwan, opened
from edgeward.vpn.drivers.strongswan.loading import Loading
from edgeward.vpn.drivers.strongswan.told import Told
from tests.unit.vpn.drivers.strongswan.test_loading import Charon
from tests.unit.vpn.values import connection

ONE = connection()
MOVED = connection(peer_address="198.51.100.10")
OTHER = connection(id="00000000-0000-4000-8000-000000000002", peer_address="198.51.100.11")
OFF = MOVED.model_copy(update={"enabled": False})


@asynccontextmanager
async def driving(path: Path, *known: Connection) -> AsyncIterator[StrongSwan]:
    driver = await opened(path, known)
    try:
        yield driver
    finally:
        await driver.close()


@asynccontextmanager
async def after_a_kill(charon: Charon, path: Path, *, swapped: bool) -> AsyncIterator[StrongSwan]:
    """Drive a charon that was told of a peer's other address, and not yet to forget the former one."""
    async with charon.serving(path) as vici:
        former = Loading(vici, Told(), {}, set())
        for one in (MOVED, ONE) if swapped else (ONE, MOVED):
            await former.load(one)
        async with driving(path, ONE) as driver:
            yield driver


@pytest.mark.parametrize("swapped", [False, True])
async def test_a_former_peer_is_forgotten_also_by_who_comes_after_a_kill(
    state_dir: Path, swapped: bool
) -> None:
    charon = Charon()
    async with after_a_kill(charon, state_dir / "vici", swapped=swapped) as driver:
        await driver.load(MOVED, ONE, initiate=False)

    assert set(charon.connections) == charon.secrets == {wording.peers(MOVED)}


@pytest.mark.parametrize("swapped", [False, True])
async def test_nothing_stays_of_what_is_taken_away_after_a_kill(state_dir: Path, swapped: bool) -> None:
    charon = Charon()
    async with after_a_kill(charon, state_dir / "vici", swapped=swapped) as driver:
        await driver.unload(ONE.id)

    assert (charon.connections, charon.secrets) == ({}, set())


@pytest.mark.parametrize("swapped", [False, True])
async def test_nothing_answers_for_what_is_disabled_after_a_kill(state_dir: Path, swapped: bool) -> None:
    charon = Charon()
    async with after_a_kill(charon, state_dir / "vici", swapped=swapped) as driver:
        await driver.load(OFF, ONE, initiate=False)

        assert await driver.loaded() == {ONE.id}
    assert (charon.connections, charon.secrets) == ({}, set())


@asynccontextmanager
async def opened_at(path: Path, charon: Charon) -> AsyncIterator[StrongSwan]:
    async with charon.serving(path), driving(path) as driver:
        yield driver


async def test_what_is_not_taken_is_not_kept_up_and_what_was_taken_before_is(state_dir: Path) -> None:
    charon = Charon()
    async with opened_at(state_dir / "vici", charon) as driver:
        await driver.load(ONE, None, initiate=True)
        charon.refuses = "invalid value for: proposals"
        for one in (OTHER, MOVED):
            with pytest.raises(Invalid):
                await driver.load(one, None, initiate=one is OTHER)

        assert driver._keeper.wants(ONE.id)
        assert not driver._keeper.waits(OTHER.id)


async def test_nothing_is_remembered_of_what_is_gone(state_dir: Path) -> None:
    charon = Charon()
    async with opened_at(state_dir / "vici", charon) as driver:
        for one in (ONE, MOVED, OTHER):
            await driver.load(one, None, initiate=False)
            for who in (wording.peers(one), "(unnamed)"):
                hear(driver, one, who)
        assert len(driver._watch._findings) == 4
        await driver.unload(ONE.id)
        await driver.unload(OTHER.id)

        assert (driver._watch._findings, driver._watch._marks, dict(driver._locks)) == ({}, {}, {})


async def test_what_is_disabled_is_so_since_then(state_dir: Path) -> None:
    charon = Charon()
    async with opened_at(state_dir / "vici", charon) as driver:
        await driver.load(MOVED, None, initiate=False)
        hear(driver, MOVED, wording.peers(MOVED))
        driver._watch._marks[MOVED.id] = 1.0  # when it came up
        began = time.time()
        await driver.load(OFF, MOVED, initiate=False)

        found = (await driver.states())[OFF.id]
    assert found.phase == "disabled"
    assert found.since >= began


def hear(driver: StrongSwan, one: Connection, who: str) -> None:
    """Have charon say that a peer is not known, and that an IKE_SA of its went."""
    said = {"ikesa-uniqueid": "1", "ikesa-name": who}
    driver._watch.log(said | {"msg": f"{one.peer_address} is initiating an IKE_SA"})
    driver._watch.log(said | {"msg": "no shared key found for us"})
    driver._watch._heard("ike-updown", {wording.peers(one): {}})


LONGER = ONE.model_copy(update={"ipsec": ONE.ipsec.model_copy(update={"lifetime": 7200})})


async def test_who_ends_one_that_is_changed_meanwhile_does_not_bring_back_what_it_was(
    state_dir: Path,
) -> None:
    charon = Charon()
    async with opened_at(state_dir / "vici", charon) as driver:
        await driver.load(ONE, None, initiate=False)
        async with asyncio.TaskGroup() as both:
            both.create_task(driver.load(LONGER, ONE, initiate=False))
            both.create_task(driver.terminate(ONE.id))

        assert charon.children(ONE)[ONE.id]["life_time"] == b"7200"


async def test_who_ends_or_begins_one_that_is_taken_away_meanwhile_does_not_bring_it_back(
    state_dir: Path,
) -> None:
    charon = Charon()
    async with opened_at(state_dir / "vici", charon) as driver:
        await driver.load(ONE, None, initiate=False)
        steps = driver.unload(ONE.id), driver.terminate(ONE.id), driver.initiate(ONE.id)
        busy = driver.load(LONGER, ONE, initiate=False)  # so that all of them wait
        said = await asyncio.gather(busy, *steps, return_exceptions=True)

        assert [type(one) for one in said] == [type(None), type(None), NotFound, NotFound]
        assert (charon.connections, charon.secrets) == ({}, set())
        assert not driver._keeper.waits(ONE.id)
