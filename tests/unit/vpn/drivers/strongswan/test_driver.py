"""The driver beside a server that keeps what it is told as charon does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgeward.vpn.drivers.strongswan import wording
from edgeward.vpn.drivers.strongswan.driver import StrongSwan, opened
from edgeward.vpn.drivers.strongswan.loading import Loading
from edgeward.vpn.drivers.strongswan.told import Told
from tests.unit.vpn.drivers.strongswan.test_loading import Charon
from tests.unit.vpn.values import connection

ONE = connection()
MOVED = connection(peer_address="198.51.100.10")
OFF = MOVED.model_copy(update={"enabled": False})


@asynccontextmanager
async def after_a_kill(charon: Charon, path: Path, *, swapped: bool) -> AsyncIterator[StrongSwan]:
    """Drive a charon that was told of a peer's other address, and not yet to forget the former one."""
    async with charon.serving(path) as vici:
        former = Loading(vici, Told(), {}, set())
        for one in (MOVED, ONE) if swapped else (ONE, MOVED):
            await former.load(one)
        driver = await opened(path, [ONE])
        try:
            yield driver
        finally:
            await driver.close()


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
