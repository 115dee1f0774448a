"""What a daemon was told of connections, what it did not take, and what of that is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeward.errors import Invalid
from edgeward.node.tunnels.kept import Kept
from edgeward.node.tunnels.loading import Loading
from edgeward.sealing import Seal, new_key
from edgeward.vpn.desired import Connection
from edgeward.vpn.drivers.memory import Internet, Memory
from edgeward.vpn.plan import Activate, Load, Loaded, Rest, Unload
from tests.unit.vpn.values import connection, gateway

ONE = connection()
CHANGED = connection(peer_networks=("10.9.0.0/24",))
TWO = connection(id="00000000-0000-4000-8000-000000000002", peer_networks=("10.3.0.0/24",))


class Choosy(Memory):
    """Takes nothing whose peer has the networks of ``CHANGED``."""

    async def load(self, connection: Connection, before: Connection | None, *, initiate: bool) -> None:
        if connection.peer_networks == CHANGED.peer_networks:
            raise Invalid("these networks are not taken")
        await super().load(connection, before, initiate=initiate)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    here = Kept(tmp_path / "tunnels.db", Seal(new_key()))
    yield here
    here.close()


@pytest.fixture
def driver() -> Memory:
    return Choosy(Internet().daemon())


def loading(kept: Kept, heard: list[str] | None = None) -> Loading:
    heard = [] if heard is None else heard
    return Loading("gate", kept, lambda: heard.append("changed"), kept.loaded().get("gate", {}))


async def test_a_change_that_is_not_taken_leaves_all_as_it_was_until_another_one_is_declared(
    kept: Kept, driver: Memory
) -> None:
    heard: list[str] = []
    one = loading(kept, heard)
    await one.tell(driver, Load(ONE, None, active=True))
    assert (heard, one.problems) == ([], {})

    await one.tell(driver, Load(CHANGED, ONE, active=True))
    assert heard == ["changed"]
    assert one.problems[ONE.id].reason == "these networks are not taken"
    assert one.without_refused(gateway(CHANGED, TWO)) == gateway(ONE, TWO)
    assert one.known() == [ONE]

    assert one.without_refused(gateway(ONE, TWO)) == gateway(ONE, TWO)
    assert one.problems == {}


async def test_one_that_was_never_taken_is_left_out(kept: Kept, driver: Memory) -> None:
    one = loading(kept)
    await one.tell(driver, Load(CHANGED, None, active=True))

    assert one.without_refused(gateway(CHANGED, TWO)) == gateway(TWO)
    assert one.without_refused(None) is None
    assert one.problems == {}


async def test_a_driver_opened_anew_is_told_again_what_it_is_to_keep_up(kept: Kept, driver: Memory) -> None:
    one = loading(kept)
    await one.tell(driver, Load(ONE, None, active=True))
    assert one.as_told(ONE.id, gateway(ONE)) == Loaded(ONE, active=True)

    one.tell_again()
    assert one.as_told(ONE.id, gateway(ONE)) == Loaded(ONE, active=False)
    assert one.as_told(ONE.id, gateway(ONE, active=False)) == Loaded(ONE, active=True)

    await one.tell(driver, Activate(ONE))
    assert one.as_told(ONE.id, gateway(ONE)) == Loaded(ONE, active=True)


async def test_who_begins_anew_knows_how_all_was_loaded_last(kept: Kept, driver: Memory) -> None:
    one = loading(kept)
    for each in (ONE, TWO):
        await one.tell(driver, Load(each, None, active=True))
    await one.tell(driver, Rest(TWO))
    resting = gateway(ONE, TWO, active=False)
    again = loading(kept)
    assert again.as_told(ONE.id, resting) == Loaded(ONE, active=True)
    assert again.as_told(TWO.id, resting) == Loaded(TWO, active=False)

    await one.tell(driver, Unload(TWO.id))
    assert loading(kept).known() == [ONE]
    assert await driver.loaded() == {ONE.id}

    one.forget_all()
    assert (one.known(), loading(kept).known()) == ([], [])
