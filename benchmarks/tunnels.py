"""Tunnels: one of a hundred is changed, by us and in the ways of Neutron's drivers, with the same daemon."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import neutron
from benchmarks.table import Goal, Row
from edgeward.vpn.desired import Connection, Ike, Ipsec, Psk
from edgeward.vpn.driver import Driver, State
from edgeward.vpn.drivers.strongswan.driver import opened
from tests.integration.vpn_drivers import AES128, GCM, mirrored
from tests.integration.vpn_rig import Pings, Site, has_charon, pinging, wide_area

OURS = "Edgeward"
RELOAD, RESTART = "Neutron's strongSwan way (reload)", "Neutron's Libreswan way (restart)"
_CHANGED = "one of 100 tunnels changed, in force after"
_PATIENCE = 5.0
_OTHERS = 10
_EVERY = 0.02
_LOST, _OF_OTHERS = "… pings lost on it, one each 20 ms", f"… pings lost on {_OTHERS} others"
_SETTLE = 1.0


def measure(directory: Path, rounds: int) -> list[Row]:
    """Measure with a hundred tunnels; with one round, less often."""
    if not has_charon():
        return [Row("one of 100 tunnels changed", OURS, "not installed")]
    changes = 20 if rounds > 1 else 5
    with wide_area(directory) as wan:
        here, there = wan.site(1), wan.site(2)
        for number in range(100):
            here.ip(f"addr add {_inner(1, number)}/32 dev lo")
            there.ip(f"addr add {_inner(2, number)}/32 dev lo")
        return asyncio.run(_measured(here, there, changes))


async def _measured(here: Site, there: Site, changes: int) -> list[Row]:
    connections = [_connection(here, there, number) for number in range(100)]
    with there.charon() as far, ExitStack() as stack:
        theirs = await opened(far.socket)
        for one in connections:
            await theirs.load(mirrored(one), None, initiate=False)
        near = stack.enter_context(here.charon())
        driver = await opened(near.socket)
        rows = [await _thousand(driver, here, there)]
        await _up(driver, connections)
        rows += await _by_us(driver, theirs, here, connections, changes)
        await driver.close()
        stack.close()
        rows += await _by_restart(theirs, here, connections, max(2, changes // 5))
        rows += await _by_reload(theirs, here, connections)
        await theirs.close()
    return rows


async def _thousand(driver: Driver, here: Site, there: Site) -> Row:
    many = [_connection(here, there, number) for number in range(1000)]
    began = time.monotonic()
    for one in many:
        await driver.load(one, None, initiate=False)
    took = time.monotonic() - began
    for one in many:
        await driver.unload(one.id)
    note = "one after the other, told to charon"
    return Row("1,000 tunnels loaded", OURS, took, "s", note, (Goal(took, 5.0),))


async def _up(driver: Driver, connections: Sequence[Connection]) -> None:
    for one in connections:
        await driver.load(one, None, initiate=True)
    await _all_up(driver, 60.0)


async def _all_up(driver: Driver, seconds: float) -> dict[str, State]:
    end = time.monotonic() + seconds
    while True:
        found = dict(await driver.states())
        if found and all(state.phase == "active" for state in found.values()):
            return found
        if time.monotonic() > end:
            down = next(state for state in found.values() if state.phase != "active")
            raise RuntimeError(f"not all tunnels came up: {down.reason or down.phase}")
        await asyncio.sleep(0.01)


async def _by_us(
    driver: Driver, theirs: Driver, here: Site, connections: list[Connection], changes: int
) -> list[Row]:
    took, lost_mine, lost_others, disturbed = [], [], [], 0
    for number in range(changes):
        before = connections[number]
        after = before.model_copy(update={"ipsec": Ipsec(proposals=(GCM,))})
        both = before.model_copy(update={"ipsec": Ipsec(proposals=(AES128, GCM))})
        await theirs.load(mirrored(both), mirrored(before), initiate=False)
        connections[number] = after
        await asyncio.sleep(_SETTLE if number == 0 else 0.1)
        spis = _spis(await driver.states())
        with _watched(here, number) as (mine, others):
            began = time.monotonic()
            await driver.load(after, before, initiate=True)
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.2)
        now = _spis(await driver.states())
        disturbed += sum(now.get(id_) != spi for id_, spi in spis.items() if id_ != after.id)
        lost_mine.append(mine.lost)
        lost_others.append(sum(each.lost for each in others))
    took.sort()
    p50 = 1000 * statistics.median(took)
    most, all_others = max(lost_mine), sum(lost_others)
    note = f"slowest of {changes}: {1000 * took[-1]:.0f} ms; ESP proposal of a live one"
    return [
        Row(_CHANGED, OURS, p50, "ms", note, (Goal(p50, 100),)),
        Row(_LOST, OURS, most, "", "most of any change", (Goal(most, 1),)),
        Row(_OF_OTHERS, OURS, all_others, "", "of all changes", (Goal(all_others, 0),)),
        Row("… others whose SPIs changed", OURS, disturbed, "", "of all changes", (Goal(disturbed, 0),)),
    ]  # fmt: skip


async def _by_restart(
    theirs: Driver, here: Site, connections: Sequence[Connection], changes: int
) -> list[Row]:
    """Neutron's agent ends the daemon, writes everything anew, starts it and begins each connection."""
    took, lost_mine, lost_others = [], [], []
    for number in range(changes):
        with ExitStack() as stack:
            near = stack.enter_context(here.charon())
            driver = await opened(near.socket)
            await _up(driver, connections)
            await asyncio.sleep(_SETTLE)
            with _watched(here, number) as (mine, others):
                began = time.monotonic()
                await driver.close()
                stack.close()
                stack.enter_context(here.charon())
                driver = await opened(near.socket)
                await _up(driver, connections)
                took.append(time.monotonic() - began)
                await asyncio.sleep(0.5)
            lost_mine.append(mine.lost)
            lost_others.append(sum(each.lost for each in others))
            await driver.close()
    note = "same charon, ended, started, all loaded and begun again"
    return [
        Row(_CHANGED, RESTART, 1000 * statistics.median(took), "ms", note),
        Row(_LOST, RESTART, max(lost_mine), "", "most of any change"),
        Row(
            f"… pings lost on {_OTHERS} others", RESTART, statistics.median(lost_others), "", "of one change"
        ),
    ]


async def _by_reload(theirs: Driver, here: Site, connections: list[Connection]) -> list[Row]:
    """Neutron's agent writes everything anew and has it reloaded; what runs goes on as it was."""
    if not neutron.installed():
        return [Row(_CHANGED, RELOAD, "not installed")]
    before = connections[-1]
    after = before.model_copy(update={"ipsec": Ipsec(proposals=(GCM,))})
    both = before.model_copy(update={"ipsec": Ipsec(proposals=(AES128, GCM))})
    await theirs.load(mirrored(both), mirrored(before), initiate=False)
    with ExitStack() as stack:
        agent = stack.enter_context(neutron.agent(here, here.place / "neutron", connections))
        with _watched(here, 99) as (mine, others):
            agent.write([*connections[:-1], after])
            began = time.monotonic()
            agent.reload()
            in_force: float | str = f"not within {_PATIENCE:g} s"
            while time.monotonic() - began < _PATIENCE:
                children = (await theirs.states())[after.id].children
                if any("GCM" in child.algorithms for child in children):
                    in_force = 1000 * (time.monotonic() - began)
                    break
                await asyncio.sleep(0.05)
    return [
        Row(
            _CHANGED, RELOAD, in_force, "ms", "ipsec rereadsecrets, ipsec reload; it goes on with the old one"
        ),
        Row(_LOST, RELOAD, mine.lost),
        Row(_OF_OTHERS, RELOAD, sum(each.lost for each in others)),
    ]


@contextmanager
def _watched(here: Site, changed: int) -> Iterator[tuple[Pings, list[Pings]]]:
    """Ping through one and through some others for the length of the block."""
    numbers = [changed, *((changed + 7 * step) % 100 for step in range(1, _OTHERS + 1))]
    with ExitStack() as stack:
        all_ = [
            stack.enter_context(pinging(here, _inner(1, number), _inner(2, number), _EVERY))
            for number in numbers
        ]
        yield all_[0], all_[1:]


def _spis(states: Mapping[str, State]) -> dict[str, tuple[str, ...]]:
    return {id_: tuple(child.spi_in for child in state.children) for id_, state in states.items()}


def _inner(side: int, number: int) -> str:
    return f"10.{100 + side}.{number}.1"


def _connection(here: Site, there: Site, number: int) -> Connection:
    return Connection(
        id=f"{number:08x}-0000-4000-8000-000000000001",
        name=f"default/site-{number}",
        local_address=here.outside,
        peer_address=there.outside,
        local_id=f"here-{number}.example",
        peer_id=f"there-{number}.example",
        local_networks=(
            f"10.101.{number}.0/24" if number < 256 else f"10.{number // 256 + 20}.{number % 256}.0/24",
        ),
        peer_networks=(
            f"10.102.{number}.0/24" if number < 256 else f"10.{number // 256 + 30}.{number % 256}.0/24",
        ),
        ike=Ike(proposals=(AES128,)),
        ipsec=Ipsec(proposals=(AES128,)),
        auth=Psk(secret="a secret of both"),
    )
