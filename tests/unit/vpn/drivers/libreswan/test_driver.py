"""The driver of a pluto that is a fake: what it was told, whenever it stopped to answer meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from edgeward.errors import Invalid, NotFound, Unavailable
from edgeward.secret import Secret
from edgeward.vpn.desired import Connection, Psk
from edgeward.vpn.drivers.libreswan.driver import Libreswan
from edgeward.vpn.drivers.libreswan.text import secrets, sections
from edgeward.vpn.drivers.libreswan.whack import Pluto
from tests.unit.vpn.values import connection

ONE = connection()
ROTATED = ONE.model_copy(update={"auth": Psk(secret=Secret("another secret"))})


class Fake(Pluto):
    """``knows``: the sections it was told; ``secrets``: what it has read; ``silent``: to what it does not
    answer, though it does it where that is ``late``."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.own.mkdir()
        self.log.touch()
        self.pid.parent.mkdir()
        self.pid.write_text(str(os.getpid()))
        self.knows: dict[str, str] = {}
        self.secrets = ""
        self.asked: list[str] = []
        self.silent = ""
        self.late = False
        self.refuses = False

    async def whack(self, *words: str) -> str:
        await asyncio.sleep(0)  # as a program that is waited for

        def done() -> None:
            if "--rereadsecrets" in words:
                self.secrets = "".join(file.read_text() for file in sorted(self.own.glob("*.secrets")))
            if "--delete" in words:
                self.knows.pop(words[1], None)

        self._come(words[-1], done)
        return "".join(f'000 "{name}": is known\n' for name in self.knows) if "--status" in words else ""

    async def add(self, section: str, text: str) -> None:
        if self.refuses:
            raise Invalid("Libreswan does not take it: see its log")
        self._come("add", lambda: self.knows.update({section: text}))

    def _come(self, what: str, done: Callable[[], None]) -> None:
        self.asked.append(what)
        if what != self.silent or self.late:
            done()
        if what == self.silent:
            raise Unavailable("pluto does not answer within 10 s")


@pytest.fixture
def pluto(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


@pytest.fixture
async def driver(pluto: Fake) -> AsyncIterator[Libreswan]:
    found = Libreswan(pluto)
    yield found
    await found.close()


async def load(driver: Libreswan, one: Connection) -> None:
    await driver.load(one, None, initiate=False)


async def test_what_is_as_it_was_is_left_alone(pluto: Fake, driver: Libreswan) -> None:
    await load(driver, ONE)
    pluto.asked.clear()

    await load(driver, ONE)

    assert pluto.asked == ["--status"]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("step", ["--rereadsecrets", "--status", "--delete", "add"])
async def test_another_secret_arrives_wherever_it_stopped_to_answer(
    pluto: Fake, driver: Libreswan, step: str, late: bool
) -> None:
    await load(driver, ONE)
    pluto.silent, pluto.late = step, late
    with pytest.raises(Unavailable):
        await load(driver, ROTATED)
    pluto.silent = ""
    pluto.asked.clear()

    await load(driver, ROTATED)

    assert pluto.secrets == secrets([ROTATED])
    assert "add" in pluto.asked  # what is up was agreed on by the old one
    pluto.asked.clear()
    await load(driver, ROTATED)
    assert pluto.asked == ["--status"]


@pytest.mark.parametrize("late", [False, True])
async def test_what_was_half_told_is_not_taken_for_what_it_was_before(
    pluto: Fake, driver: Libreswan, late: bool
) -> None:
    longer = ONE.model_copy(update={"ipsec": ONE.ipsec.model_copy(update={"lifetime": 7200})})
    await load(driver, ONE)
    before = dict(pluto.knows)
    pluto.silent, pluto.late = "add", late
    with pytest.raises(Unavailable):
        await load(driver, longer)
    pluto.silent = ""

    await load(driver, ONE)

    assert pluto.knows == before


async def test_who_waits_for_a_tunnel_does_not_wait_for_the_time_of_day(
    driver: Libreswan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeward.vpn.drivers.libreswan.driver._BEGIN_SECONDS", 0.1)
    await load(driver, ONE)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)  # somebody sets the clock back

    async with asyncio.timeout(30):
        with pytest.raises(Unavailable, match="no answer from"):
            await driver.initiate(ONE.id)


async def test_the_secret_of_what_is_unloaded_is_forgotten_where_it_did_not_answer_at_first(
    pluto: Fake, driver: Libreswan
) -> None:
    await load(driver, ONE)
    pluto.silent = "--rereadsecrets"
    with pytest.raises(Unavailable):
        await driver.unload(ONE.id)
    pluto.silent = ""

    await driver.unload(ONE.id)

    assert (pluto.knows, pluto.secrets) == ({}, "")


async def test_what_is_not_taken_is_not_kept_up_and_leaves_no_secret(pluto: Fake, driver: Libreswan) -> None:
    pluto.refuses = True
    with pytest.raises(Invalid):
        await driver.load(ONE, None, initiate=True)

    assert not driver._keeper.waits(ONE.id)
    assert (pluto.secrets, list(pluto.own.glob(f"{ONE.id}*"))) == ("", [])


async def test_what_was_kept_up_is_so_still_where_its_change_is_not_taken(
    pluto: Fake, driver: Libreswan
) -> None:
    await driver.load(ONE, None, initiate=True)
    pluto.refuses = True
    with pytest.raises(Invalid):
        await driver.load(ROTATED, ONE, initiate=False)

    assert driver._keeper.wants(ONE.id)


async def test_of_what_it_does_not_know_any_more_nothing_is_kept(pluto: Fake, driver: Libreswan) -> None:
    section = next(iter(sections(ONE)))
    refused = f'"{section}" #1: authentication failed: computed hash does not match that of the peer'
    await load(driver, ONE)
    driver._heard(refused)
    assert (await driver.states())[ONE.id].phase == "error"

    await driver.unload(ONE.id)
    driver._heard(refused)  # its log is read after it
    await load(driver, ONE)

    assert (await driver.states())[ONE.id].phase == "down"


async def test_who_ends_one_that_is_changed_meanwhile_does_not_bring_back_what_it_was(
    pluto: Fake, driver: Libreswan
) -> None:
    longer = ONE.model_copy(update={"ipsec": ONE.ipsec.model_copy(update={"lifetime": 7200})})
    await load(driver, ONE)

    await asyncio.gather(load(driver, longer), driver.terminate(ONE.id))

    assert pluto.knows == sections(longer)


async def test_who_ends_one_that_is_taken_away_meanwhile_does_not_bring_it_back(
    pluto: Fake, driver: Libreswan
) -> None:
    await load(driver, ONE)

    said = await asyncio.gather(driver.unload(ONE.id), driver.terminate(ONE.id), return_exceptions=True)

    assert [type(one) for one in said] == [type(None), NotFound]
    assert (pluto.knows, pluto.secrets) == ({}, "")
