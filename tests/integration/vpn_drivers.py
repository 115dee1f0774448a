"""Two drivers that reach each other, of each kind, for one suite over all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from edgeward.vpn.desired import Connection, Ike, Ipsec, Proposal, Psk
from edgeward.vpn.driver import Driver, State
from edgeward.vpn.drivers.libreswan import driver as libreswan_driver
from edgeward.vpn.drivers.memory import Internet, Memory
from edgeward.vpn.drivers.strongswan.driver import opened
from tests.integration.pluto import pluto
from tests.integration.vpn_rig import Site, ping, wide_area
from tests.patience import PATIENCE

HERE, THERE = "198.51.1.2", "198.51.2.2"
AES128 = Proposal(encryption="aes-128", integrity="sha256", groups=("group19",))
GCM = Proposal(encryption="aes-256-gcm-16", integrity="sha384", groups=("group20",))


@dataclass
class Ends:
    """Drivers of both ends. ``reopened`` gives another driver of the nearer daemon, as after a restart."""

    here: Driver
    there: Driver
    reopened: Callable[[list[Connection]], Awaitable[Driver]]
    apart: bool = True
    """Whether nothing of the others ends with a change of one between the same peers and ids: pluto's IKE_SA ends
    with the one it was begun for, and the others come up again."""


Kind = Callable[[], AsyncIterator[Ends]]


def connection(number: int = 1, **changed: object) -> Connection:
    """One of the nearer end; each number has networks and ids of its own."""
    given = {
        "id": f"{number:08x}-0000-4000-8000-000000000001",
        "name": f"default/site-{number}",
        "local_address": HERE,
        "peer_address": THERE,
        "local_id": f"here-{number}.example",
        "peer_id": f"there-{number}.example",
        "local_networks": ("10.1.0.0/24",) if number == 1 else (f"10.1.{number}.0/24",),
        "peer_networks": ("10.2.0.0/24",) if number == 1 else (f"10.2.{number}.0/24",),
        "ike": Ike(proposals=(AES128,)),
        "ipsec": Ipsec(proposals=(AES128,)),
        "auth": Psk(secret="a secret of both"),
    }
    return Connection(**(given | changed))


def mirrored(one: Connection) -> Connection:
    """The same seen from the other end, which only answers."""
    return one.model_copy(
        update={
            "local_address": one.peer_address, "peer_address": one.local_address, "local_id": one.peer_id,
            "peer_id": one.local_id, "local_networks": one.peer_networks, "peer_networks": one.local_networks,
            "initiator": False,
        }
    )  # fmt: skip


T = TypeVar("T", bound=BaseModel)


def changed(one: T, **values: object) -> T:
    return one.model_copy(update=values)


async def state(driver: Driver, one: Connection, phase: str = "active", seconds: float = 10.0) -> State:
    """Wait until one is in a phase; gives its state, raises AssertionError with the last one."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        found = (await driver.states()).get(one.id)
        if found is not None and found.phase == phase:
            return found
        assert time.monotonic() < end, f"{phase} is not reached: {found}"
        await asyncio.sleep(0.01)


async def up(ends: Ends, one: Connection) -> State:
    """Load one at both ends and have it come up."""
    await ends.there.load(mirrored(one), None, initiate=False)
    await ends.here.load(one, None, initiate=True)
    await state(ends.there, one)
    return await state(ends.here, one)


async def both(ends: Ends, before: Connection, after: Connection) -> None:
    """Change one at both ends."""
    await ends.there.load(mirrored(after), mirrored(before), initiate=False)
    await ends.here.load(after, before, initiate=True)


@asynccontextmanager
async def memory_ends() -> AsyncIterator[Ends]:
    internet = Internet()
    here, there = internet.daemon(), internet.daemon()

    async def reopened(known: list[Connection]) -> Driver:
        return Memory(here)

    yield Ends(Memory(here), Memory(there), reopened)


@dataclass
class Charons:
    """Two charons with a router between them."""

    here: Path
    there: Path
    """Of their vicis."""
    site: Site
    """The nearer one's."""

    def ping(self) -> int:
        """Give how many pings of one are lost through the first tunnel."""
        return ping(self.site, "10.1.0.1", "10.2.0.1", count=1)


@contextmanager
def charons(place: Path) -> Iterator[Charons]:
    with sites(place) as (here, there), here.charon() as one, there.charon() as other:
        yield Charons(one.socket, other.socket, here)


@contextmanager
def plutos(place: Path) -> Iterator[tuple[Path, Path]]:
    """Two plutos with a router between them; gives the places that rootd would have them at."""
    with (
        sites(place) as (here, there),
        pluto(here, place / "pluto1") as one,
        pluto(there, place / "pluto2") as other,
    ):
        yield one.place, other.place


@contextmanager
def sites(place: Path) -> Iterator[tuple[Site, Site]]:
    with wide_area(place) as wan:
        here, there = wan.site(1), wan.site(2)
        for number in range(2, 6):
            here.ip(f"addr add 10.1.{number}.1/32 dev lo")
            there.ip(f"addr add 10.2.{number}.1/32 dev lo")
        yield here, there


@asynccontextmanager
async def strongswan_ends(pair: Charons) -> AsyncIterator[Ends]:
    """Drivers of two charons, which know nothing at the beginning and at the end."""
    here, there = pair.here, pair.there
    async with _ends(await opened(here), await opened(there), lambda known: opened(here, known)) as found:
        yield found


@asynccontextmanager
async def libreswan_ends(here: Path, there: Path) -> AsyncIterator[Ends]:
    """The same of two plutos."""

    async def driver(place: Path, known: list[Connection]) -> Driver:
        return await libreswan_driver.opened(place, known)

    async with _ends(
        await driver(here, []), await driver(there, []), lambda known: driver(here, known)
    ) as found:
        found.apart = False
        yield found


@asynccontextmanager
async def _ends(
    mine: Driver, theirs: Driver, another: Callable[[list[Connection]], Awaitable[Driver]]
) -> AsyncIterator[Ends]:
    more: list[Driver] = []

    async def reopened(known: list[Connection]) -> Driver:
        more.append(await another(known))
        return more[-1]

    try:
        yield Ends(mine, theirs, reopened)
    finally:
        for driver in (mine, theirs):
            for one in await driver.loaded():
                await driver.unload(one)
        for each in (mine, theirs, *more):
            await each.close()
