"""Relays are started where they lack, told of once they listen, and ended when nobody has wanted them for long."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edgeward.actions import Unanswered
from edgeward.gateway.model import Behind, Service
from edgeward.node.backends import relays
from edgeward.node.backends.relays import Relays
from edgeward.node.backends.sites import NO_RESOLVER, Site
from edgeward.parsing import parse

HERE = {("default", "berlin"): Site("vpn-0123456789ab", NO_RESOLVER)}
DOWN = {("default", "berlin"): Site("vpn-0123456789ab", NO_RESOLVER, "is down")}
PLACE = Behind("berlin", "192.168.4.10", 80)


class Rootd:
    """Does what rootd does with relays, as far as a node sees it: sockets come and go."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.sockets: dict[str, socket.socket] = {}
        self.asked: list[str] = []
        self.says: dict[str, Any] | None = None
        self.gone = False
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        await self.goes_on.wait()
        if self.gone:
            raise Unanswered("there is no rootd on this node; start edgeward rootd there")
        self.asked.append(request["action"])
        if self.says is not None:
            return self.says
        values = request["values"]
        path = self.place / values["namespace"] / f"{values['relay']}.sock"
        if request["action"] == "start-relay":
            path.parent.mkdir(exist_ok=True)
            self.sockets[str(path)] = made = socket.socket(socket.AF_UNIX)
            made.bind(str(path))
            made.listen()
        else:
            self.sockets.pop(str(path)).close()
            path.unlink()
        return {"outcome": "done", "exit": 0}


class Desk:
    def __init__(self, place: Path) -> None:
        self.now = 1000.0
        self.rootd = Rootd(place)
        self.relays = Relays(self.rootd.ask, place, lambda: self.now)
        self.told: list[set[tuple[str, str]]] = []
        self.relays.changed = self.told.append


@pytest.fixture
def desk(state_dir: Path) -> Desk:
    return Desk(state_dir)


def shop(*backends: str) -> Service:
    return parse(Service, {"name": "shop", "backends": list(backends or ["vpn://berlin/192.168.4.10:80"])})


async def test_a_relay_is_started_and_told_of_once_it_listens(desk: Desk) -> None:
    desk.relays.want([shop()])
    desk.relays.know(HERE)
    assert desk.relays.sockets(shop()) == {}
    assert "it is being started" in desk.relays.problem(shop())

    await desk.relays.tend()

    assert list(desk.relays.sockets(shop())) == [PLACE]
    assert desk.told[-1] == {("default", "shop")}
    assert desk.relays.problem(shop()) == ""
    assert desk.rootd.asked == ["start-relay"]


async def test_while_the_tunnel_is_down_its_relay_stays_and_is_not_told_of(desk: Desk) -> None:
    desk.relays.want([shop()])
    desk.relays.know(HERE)
    await desk.relays.tend()

    desk.relays.know(DOWN)

    assert desk.relays.sockets(shop()) == {}
    assert desk.relays.problem(shop()) == "the tunnel to site berlin is down"
    desk.relays.know(HERE)
    assert list(desk.relays.sockets(shop())) == [PLACE]
    assert desk.rootd.asked == ["start-relay"]


async def test_a_relay_that_died_is_started_again(desk: Desk) -> None:
    desk.relays.want([shop()])
    desk.relays.know(HERE)
    await desk.relays.tend()
    for path, listening in desk.rootd.sockets.items():
        listening.close()
        Path(path).unlink()

    await desk.relays.tend()

    assert desk.rootd.asked == ["start-relay", "start-relay"]
    assert list(desk.relays.sockets(shop())) == [PLACE]


async def test_a_relay_is_ended_when_nobody_has_wanted_it_for_a_while_and_not_before(desk: Desk) -> None:
    desk.relays.want([shop()])
    desk.relays.know(HERE)
    await desk.relays.tend()

    desk.relays.want([shop("vpn://berlin/192.168.4.11:80")])
    await desk.relays.tend()
    assert desk.rootd.asked == ["start-relay", "start-relay"]
    desk.now += 31
    await desk.relays.tend()

    assert desk.rootd.asked == ["start-relay", "start-relay", "stop-relay"]


async def test_relays_in_namespaces_of_another_node_are_left_alone(desk: Desk) -> None:
    desk.relays.want([shop()])
    desk.relays.know(HERE)
    await desk.relays.tend()
    desk.relays.know({("default", "paris"): Site("vpn-00000000beef", NO_RESOLVER)})
    desk.relays.want([])

    for _ in range(3):
        await desk.relays.tend()
        desk.now += 31

    assert desk.rootd.asked == ["start-relay"]


async def test_nothing_is_ended_before_it_is_known_which_sites_there_are(desk: Desk) -> None:
    desk.relays.want([shop()])
    desk.relays.know(HERE)
    await desk.relays.tend()
    again = Relays(desk.rootd.ask, desk.rootd.place, lambda: desk.now)
    desk.relays = again
    again.want([shop()])
    assert again.pending(shop())

    await desk.relays.tend()
    desk.now += 5
    await desk.relays.tend()

    assert desk.rootd.asked == ["start-relay"]


async def test_tunnels_that_were_not_looked_at_yet_are_not_said_to_be_down(desk: Desk) -> None:
    desk.relays.want([shop()])
    desk.relays.know(DOWN, settled=False)
    assert desk.relays.pending(shop())

    desk.now += 10
    await desk.relays.tend()

    assert not desk.relays.pending(shop())
    assert desk.relays.problem(shop()) == "the tunnel to site berlin is down"


async def test_a_node_that_hears_nothing_of_sites_gives_up_waiting(desk: Desk) -> None:
    desk.relays.want([shop()])
    desk.now += 10

    await desk.relays.tend()

    assert not desk.relays.pending(shop())
    assert desk.relays.problem(shop()) == "this node has no gateway of site berlin"


async def test_what_rootd_says_against_a_relay_is_told_and_it_is_tried_again_less_often(desk: Desk) -> None:
    desk.rootd.says = {
        "outcome": "done",
        "exit": 1,
        "output": "there is no namespace vpn-0; create it first\n",
    }
    desk.relays.want([shop()])
    desk.relays.know(HERE)

    await desk.relays.tend()
    await desk.relays.tend()
    assert desk.rootd.asked == ["start-relay"]
    assert desk.relays.problem(shop()).endswith("there is no namespace vpn-0; create it first")
    desk.now += 0.5
    await desk.relays.tend()
    desk.now += 0.5
    await desk.relays.tend()

    assert desk.rootd.asked == ["start-relay", "start-relay"]


async def test_without_rootd_the_service_says_so(desk: Desk) -> None:
    desk.rootd.gone = True
    desk.relays.want([shop()])
    desk.relays.know(HERE)

    await desk.relays.tend()

    assert desk.relays.problem(shop()).endswith("start edgeward rootd there")


async def test_while_rootd_hangs_a_relay_that_dies_is_told_of_and_what_comes_then_is_done_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "_LOOK_SECONDS", 0.02)
    desk.relays.want([shop()])
    desk.relays.know(HERE)
    running = asyncio.create_task(desk.relays.run())
    await until(lambda: desk.relays.sockets(shop()))
    desk.rootd.goes_on.clear()
    both = shop("vpn://berlin/192.168.4.10:80", "vpn://berlin/192.168.4.11:80")
    desk.relays.want([both])
    await asyncio.sleep(0.1)  # the second one is being asked for

    for made in desk.rootd.sockets.values():
        made.close()
    await until(lambda: not desk.relays.sockets(both))
    desk.rootd.goes_on.set()
    for path in list(desk.rootd.sockets):
        Path(path).unlink()
    await until(lambda: len(desk.relays.sockets(both)) == 2)

    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
