"""Of gateways that other nodes may have too, those are active whose lease is held; in doubt all stays as it was."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from edgeward.declaration.feed import Claim, Granted
from edgeward.errors import Unavailable
from edgeward.node.tunnels.holding import Holding
from edgeward.node.tunnels.telling import Doing
from edgeward.vpn.desired import Gateway
from edgeward.vpn.driver import State

ONE, TWO = "00000000000a", "00000000000b"


class Desk:
    """A node's holding, and the controller it asks: ``grants`` None is one that does not answer."""

    def __init__(self, place: Path) -> None:
        self.now = 1000.0
        self.kept = place / "held.json"
        self.grants: set[str] | None = set()
        self.claims: list[tuple[str, ...]] = []
        self.told = 0
        self.again()

    def again(self) -> None:
        self.holding = Holding(self.ask, self.kept, lambda: self.now)
        self.holding.changed = self._changed

    def _changed(self) -> None:
        self.told += 1

    async def ask(self, claim: Claim, timeout: float) -> Granted:
        self.claims.append(claim.gateways)
        if self.grants is None:
            raise Unavailable("the controller does not answer")
        return Granted(gateways=tuple(self.grants & set(claim.gateways)))

    async def look(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await self.holding.run()

    def active(self, *gateways: Gateway) -> list[str]:
        return [g.id for g in self.holding.judged(gateways or (gateway(),)) if g.active]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def gateway(id_: str = ONE, *, shared: bool = True) -> Gateway:
    return Gateway(id=id_, name="default/berlin", active=not shared, shared=shared)


def doing(phase: str = "running", *, up: bool = False) -> dict[str, Doing]:
    state = State(connection="c", phase="active" if up else "down", since=0)
    return {ONE: Doing(phase, 0, "", {"c": state})}


async def test_a_gateway_that_no_other_node_may_have_is_active_without_asking(desk: Desk) -> None:
    assert desk.active(gateway(shared=False)) == [ONE]
    await desk.look()

    assert desk.claims == []


async def test_when_another_node_comes_to_have_it_too_it_goes_on_here(desk: Desk) -> None:
    assert desk.active(gateway(shared=False)) == [ONE]
    desk.holding.doing(doing(up=True))

    assert desk.active() == [ONE]
    desk.grants = {ONE}
    await desk.look()

    assert desk.active() == [ONE]
    assert desk.told == 0


async def test_a_shared_one_is_active_once_it_was_granted_and_not_before(desk: Desk) -> None:
    assert desk.active() == []
    desk.holding.doing(doing("standby"))
    await desk.look()
    assert desk.active() == []
    desk.grants = {ONE}

    await desk.look()

    assert desk.active() == [ONE]
    assert desk.told == 1


async def test_one_whose_daemon_does_not_run_is_not_asked_for_and_given_up(desk: Desk) -> None:
    desk.grants = {ONE}
    desk.active()
    desk.holding.doing(doing("down"))
    await desk.look()
    assert desk.claims == []
    desk.holding.doing(doing("standby"))
    await desk.look()
    assert desk.active() == [ONE]

    desk.holding.doing(doing("down"))
    await desk.look()

    assert desk.active() == []


async def test_one_that_another_node_has_by_now_is_not_active_any_more(desk: Desk) -> None:
    desk.grants = {ONE}
    desk.active()
    desk.holding.doing(doing())
    await desk.look()

    desk.grants = set()
    await desk.look()

    assert desk.active() == []


async def test_while_nobody_can_tell_all_stays_as_it_was_after_a_restart_too(desk: Desk) -> None:
    desk.grants = {ONE}
    desk.active()
    desk.holding.doing(doing(up=True))
    await desk.look()
    desk.grants = None
    desk.now += 3600
    await desk.look()
    assert desk.active() == [ONE]

    desk.again()
    await desk.holding.begin()
    await desk.look()

    assert desk.active() == [ONE]


async def test_while_nobody_can_tell_one_whose_tunnels_come_down_is_given_up(desk: Desk) -> None:
    desk.grants = {ONE}
    desk.active()
    desk.holding.doing(doing(up=True))
    await desk.look()
    desk.holding.doing(doing(up=False))
    assert desk.active() == [ONE]  # the lease is not over
    desk.holding.doing(doing(up=True))
    desk.grants = None
    desk.now += 6

    desk.holding.doing(doing(up=False))

    assert desk.active() == []


async def test_a_node_that_comes_back_asks_before_it_goes_on(desk: Desk) -> None:
    desk.grants = {ONE}
    desk.active()
    desk.holding.doing(doing())
    await desk.look()
    desk.grants = set()
    desk.again()

    await desk.holding.begin()

    assert desk.active() == []


async def test_what_was_held_is_asked_for_before_its_daemon_is_known_again(desk: Desk) -> None:
    desk.grants = {ONE}
    desk.active()
    desk.holding.doing(doing())
    await desk.look()
    desk.again()
    await desk.holding.begin()
    desk.claims.clear()

    assert desk.active() == [ONE]
    await desk.look()

    assert desk.claims == [(ONE,)]
    assert desk.active() == [ONE]


async def test_a_file_that_cannot_be_read_is_no_reason_to_fail(desk: Desk) -> None:
    desk.kept.write_text("{")
    desk.again()

    assert desk.active() == []
