from __future__ import annotations

from dataclasses import replace

import pytest

from edgeward.vpn.driver import Keyed
from edgeward.vpn.drivers.strongswan.reasons import Finding
from edgeward.vpn.drivers.strongswan.sas import ChildSa, IkeSa, doubled, undecided
from edgeward.vpn.drivers.strongswan.states import States
from edgeward.vpn.drivers.strongswan.told import Told
from tests.integration.vpn_drivers import changed, connection

ONE = connection()
NOW = 1000.0


def sa(*, established=True, coming=False, children=(), since=900.0):
    return IkeSa("1", "c", established, coming, "198.51.2.2", "AES_CBC-128", since, 2000.0, tuple(children))


def child(name=ONE.id, *, carries=True, coming=False):
    return ChildSa(
        "1", name, carries, coming, Keyed(local=("10.1.0.0/24",), peer=("10.2.0.0/24",), since=950.0)
    )


@pytest.mark.parametrize(
    ("one", "sas", "finding", "waits", "phase"),
    [
        (ONE, [sa(children=[child()])], None, False, "active"),
        (ONE, [sa(children=[child(f"{ONE.id}.1")])], None, False, "active"),
        (ONE, [sa(children=[child("another")])], None, False, "down"),
        (ONE, [sa(children=[child(carries=False)])], None, False, "down"),
        (ONE, [sa(established=False, coming=True)], None, False, "connecting"),
        (ONE, [], None, True, "connecting"),
        (ONE, [], Finding("c", "silent", (), 990.0), True, "connecting"),
        (ONE, [], Finding("c", "silent", (), 990.0), False, "down"),
        (ONE, [], Finding("c", "secret", (), 990.0), True, "error"),
        (ONE, [sa(children=[child()])], Finding("c", "secret", (), 990.0), False, "active"),
        (changed(ONE, enabled=False), [], None, False, "disabled"),
    ],
)
def test_a_phase_follows_from_what_is_there_and_what_was_heard(one, sas, finding, waits, phase):
    found = States().of(one, sas, finding, waits, NOW, NOW)

    assert found.phase == phase
    assert bool(found.reason) == bool(finding is not None and phase != "active")
    assert bool(found.reason) == bool(found.remedy)
    assert bool(found.children) == (phase == "active")


def test_since_counts_from_the_change_and_from_the_beginning_of_what_is_found_up():
    states = States()
    up = [sa(children=[child()], since=900.0)]

    assert states.of(ONE, up, None, False, NOW, NOW).since == 900.0
    assert states.of(ONE, [sa(children=[child()], since=999.0)], None, False, 1001.0, 1001.0).since == 900.0
    assert states.of(ONE, [], None, False, 1002.0, 1005.0).since == 1002.0
    assert states.of(ONE, [], None, False, 1002.0, 1010.0).since == 1002.0
    assert states.of(ONE, up, None, False, 1011.0, 1012.0).since == 1011.0
    states.forget(ONE.id)
    assert states.of(ONE, [], None, False, 1020.0, 1020.0).since == 1020.0


@pytest.mark.parametrize(
    ("spis", "ours", "ended"),
    [
        ("12", (True, False), ["2"]),
        ("21", (True, False), []),
        ("12", (False, True), []),
        ("21", (False, True), ["2"]),
    ],
)
def test_of_two_that_both_ends_began_the_same_one_is_ended_and_by_one_end(spis, ours, ended):
    two = [replace(sa(children=[child()]), spi=spi, ours=mine) for spi, mine in zip(spis, ours, strict=True)]

    assert [one.spi for one in doubled(two, NOW)] == ended
    assert doubled(two[:1], NOW) == []
    assert not undecided(two, NOW)
    young = [two[0], replace(two[1], since=NOW - 11)]  # charon itself may end one within 10 s
    assert doubled(young, NOW) == []
    assert undecided(young, NOW) and not undecided(young[1:], NOW)
    apart = [two[0], replace(two[1], children=(child("another"),))]
    assert doubled(apart, NOW) == []


def test_what_charon_was_told_is_known_both_ways():
    told = Told()
    told.tell("a", ["1", "2"])
    told.tell("b", ["2", "3"])  # moved: as long as both know it, the later one counts

    assert (told.name("1"), told.name("2"), told.name("3"), told.name("4")) == ("a", "b", "b", None)
    told.tell("a", ["1"])
    assert told.name("2") == "b"
    told.tell("b", [])
    assert (told.ids("a"), told.ids("b"), told.name("3")) == (("1",), (), None)
