"""What is told of tunnels adds up to how they do: changes at once, figures in their time, all to a new feed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edgeward.declaration.feed import Tunnels
from edgeward.errors import Unavailable
from edgeward.node.tunnels.telling import Doing, Telling, as_here, news
from edgeward.vpn.driver import State
from edgeward.vpn.drivers.strongswan.sas import _child
from tests.unit.vpn.tunnels import NOW, connection, gateway

A, B = "a" * 12, "b" * 12


def state(number, phase="active", carried=0):
    child = {"local": ["10.1.0.0/24"], "peer": ["10.2.0.0/24"], "bytes_in": carried}
    return State.model_validate(
        {"connection": connection(number).id, "phase": phase, "since": NOW, "children": [child]}
    )


def doing(*states, phase="running"):
    return Doing(phase, NOW, "", {one.connection: one for one in states})


class Controller:
    """Takes messages as a controller does; ``deaf`` times it takes none."""

    def __init__(self):
        self.known: dict[str, tuple[str, dict]] = {}
        self.messages: list[Tunnels] = []
        self.deaf = 0

    async def send(self, message):
        if self.deaf:
            self.deaf -= 1
            raise Unavailable("no")
        self.take(message)

    def take(self, message):
        self.messages.append(message)
        if message.whole:
            here = {one.id for one in message.gateways}
            self.known = {id_: known for id_, known in self.known.items() if id_ in here}
        for one in message.gateways:
            said = {data["connection"]: data for data in one.connections}
            before = {} if one.whole else self.known.get(one.id, ("", {}))[1]
            self.known[one.id] = (one.phase, before | said)


def as_known(doings):
    return {
        id_: (one.phase, {n: s.model_dump(mode="json") for n, s in one.states.items()})
        for id_, one in doings.items()
    }


STATES = st.builds(
    lambda found: doing(*(state(number, *how) for number, how in found.items())),
    st.dictionaries(
        st.integers(1, 4),
        st.tuples(st.sampled_from(["active", "down", "connecting"]), st.integers(0, 3)),
        max_size=4,
    ),
)
DOINGS = st.dictionaries(st.sampled_from([A, B]), STATES)


@given(st.lists(DOINGS, min_size=1, max_size=6))
def test_what_is_told_adds_up_to_how_all_do(course):
    controller, told = Controller(), None
    for doings in course:
        for message in news(told, doings, figures=True):
            controller.take(message)
        told = doings
        assert controller.known == as_known(doings)
        assert list(news(told, doings, figures=True)) == []


def test_figures_alone_are_not_told_until_it_is_time_for_them():
    before, now = {A: doing(state(1, carried=1))}, {A: doing(state(1, carried=2))}

    assert list(news(before, now, figures=False)) == []
    assert len(list(news(before, now, figures=True))) == 1


def test_a_child_that_came_when_it_did_is_not_told_at_each_look():
    def looked(at, spi="c0ffee"):  # charon says how many whole seconds ago that was
        child = _child({"state": "INSTALLED", "spi-in": spi, "install-time": "5"}, at).keyed
        return {A: doing(state(1).model_copy(update={"children": (child,)}))}

    assert list(news(looked(100.3), looked(100.9), figures=False)) == []
    assert len(list(news(looked(100.3), looked(100.9, "decade"), figures=False))) == 1


def test_a_connection_that_changes_is_told_without_the_others():
    before = {A: doing(*(state(n) for n in range(100)))}
    now = {A: replace(before[A], states=before[A].states | {connection(7).id: state(7, "down")})}

    (message,) = news(before, now, figures=False)

    assert [one["phase"] for one in message.gateways[0].connections] == ["down"]
    assert not message.whole and not message.gateways[0].whole


def test_what_was_said_of_connections_holds_until_a_node_that_began_anew_has_heard_of_them():
    began = {A: replace(doing(phase="starting"), heard=False)}
    found = {A: replace(began[A], phase="running")}

    first = list(news(None, began, figures=False)) + list(news(began, found, figures=False))
    assert first and not any(one.whole or one.connections for m in first for one in m.gateways)
    (message,) = news(found, {A: doing(state(1))}, figures=False)
    assert message.gateways[0].whole and message.gateways[0].connections


def test_many_gateways_are_told_in_several_messages():
    now = {f"{n:012x}": doing(*(state(m) for m in range(100))) for n in range(20)}

    first, *rest = news(None, now, figures=False)

    assert first.whole and not any(one.connections for one in first.gateways)
    assert len(rest) == 4 and sum(len(m.gateways) for m in rest) == 20


async def test_what_is_not_taken_is_told_again_and_a_new_feed_is_told_all():
    controller, doings = Controller(), {A: doing(state(1))}
    telling = Telling(lambda: doings, controller.send)
    running = asyncio.create_task(telling.run())
    try:
        async with asyncio.timeout(30):
            controller.deaf = 1
            telling.changed()
            while controller.known != as_known(doings):
                await asyncio.sleep(0.01)
            doings = {A: doing(state(1, "down")), B: doing()}
            telling.changed()
            while controller.known != as_known(doings):
                await asyncio.sleep(0.01)
            controller.known = {}
            telling.followed()
            while controller.known != as_known(doings):
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait({running})


def test_what_only_the_node_knows_is_told_with_what_its_daemon_says():
    known, unspecified, gone = state(1), state(2), state(3)
    there = gateway(connection(1, local_address="192.0.2.7"), connection(2, local_address="::"))
    states = {one.connection: one for one in (known, unspecified, gone)}
    found = as_here(states, there, "libreswan")

    assert [one.local_address for one in found.values()] == ["192.0.2.7", "", ""]
    assert {one.driver for one in found.values()} == {"libreswan"}
    assert {
        name: one.model_copy(update={"driver": "", "local_address": ""}) for name, one in found.items()
    } == states
    assert [one.local_address for one in as_here(states, None, "").values()] == ["", "", ""]
