"""What moves when something changes: exactly what is used on other nodes afterwards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeward import whereabouts
from edgeward.declaration.document import from_data
from edgeward.declaration.model import Key
from edgeward.kinds import KINDS
from edgeward.placement import EVERYWHERE, NOWHERE, where
from edgeward.world.objects import World
from tests.unit.declaration.examples import documents

EU, US = {"region": "eu"}, {"region": "us"}
NAMES = ["a.example", "b.example", "*.c.example", "x.c.example", "y.c.example", "*.example"]


def world_of(**sections) -> World:
    world = World()
    for declared in from_data({"version": 1, **sections}, "f", KINDS).objects:
        world.put(declared.key, declared.value)
    return world


def used(world: World, kind: str, name: str):
    return whereabouts.place(world, Key(kind, "default", name)).used


SERVICES = [{"name": n, "backends": ["http://b.example"]} for n in ("one", "two", "idle")]


def test_a_route_is_used_where_one_of_its_hosts_is_and_a_service_where_a_route_is():
    world = world_of(
        domains=[{"name": "a.example", "nodes": EU}, {"name": "b.example", "nodes": US}],
        services=SERVICES,
        routes=[
            {"name": "a", "hosts": ["a.example"], "service": "one"},
            {"name": "both", "hosts": ["a.example", "b.example"], "service": "two"},
            {
                "name": "less",
                "hosts": ["a.example"],
                "paths": ["/x"],
                "service": "one",
                "nodes": {"tier": "1"},
            },
        ],
    )
    eu, us = where({"region": ["eu"]}), where({"region": ["us"]})
    assert used(world, "routes", "a") == eu
    assert used(world, "routes", "both") == eu | us
    assert used(world, "routes", "less") == where({"region": ["eu"], "tier": ["1"]})
    assert used(world, "services", "two") == eu | us
    assert used(world, "services", "one") == eu | used(world, "routes", "less")
    assert used(world, "services", "idle") == EVERYWHERE


def test_keys_go_where_the_domain_is_served_that_decides():
    world = world_of(domains=[{"name": "*.c.example"}, {"name": "x.c.example", "nodes": EU}])
    eu = where({"region": ["eu"]})
    assert whereabouts.of_certificate(world, "x.c.example") == eu
    assert whereabouts.of_certificate(world, "y.c.example") == EVERYWHERE
    assert whereabouts.of_certificate(world, "other.example") == NOWHERE
    place = whereabouts.place(world, Key("domains", "default", "x.c.example"))
    assert place == whereabouts.Place(eu, hidden=EVERYWHERE)


@given(st.lists(documents(), min_size=2, max_size=4))
def test_what_moves_is_what_is_used_elsewhere_afterwards(stages):
    world = World()
    for stage in stages:
        objects = {d.key: d.value for d in from_data(stage, "f", KINDS).objects}
        old = dict(world.items())
        pairs = {
            key: (old.get(key), objects.get(key))
            for key in {*old, *objects}
            if old.get(key) != objects.get(key)
        }
        places = {key: whereabouts.place(world, key) for key in old}
        wheres = {name: whereabouts.of_certificate(world, name) for name in NAMES}
        then = whereabouts.before(world, pairs)
        for key, (_, value) in pairs.items():
            if value is None:
                world.remove(key)
            else:
                world.put(key, value)

        moved = whereabouts.moved(world, then)

        same = {key for key in objects if key not in pairs}
        assert moved.keys == {key for key in same if whereabouts.place(world, key) != places[key]}
        for name in NAMES:
            if whereabouts.of_certificate(world, name) != wheres[name]:
                over = "*." + name.partition(".")[2]
                assert moved.domains & {name, over}


def test_a_service_of_a_tcp_route_is_everywhere_and_moves_with_it():
    raw = {"name": "raw", "backends": ["tcp://b.example:25"]}
    web = {"name": "r", "hosts": ["a.example"], "service": "raw", "tls": "passthrough"}
    sections = {"domains": [{"name": "a.example", "nodes": EU}], "services": [raw], "routes": [web]}
    world = world_of(**sections)
    assert used(world, "services", "raw") == where({"region": ["eu"]})

    (declared,) = from_data(
        {"version": 1, "tcp_routes": [{"name": "t", "listen": ":25", "service": "raw"}]}, "f", KINDS
    ).objects
    then = whereabouts.before(world, {declared.key: (None, declared.value)})
    world.put(declared.key, declared.value)

    assert used(world, "services", "raw") == EVERYWHERE
    assert whereabouts.moved(world, then).keys == {Key("services", "default", "raw")}


def test_a_tcp_route_and_its_service_are_where_its_selector_says():
    raw = {"name": "raw", "backends": ["tcp://b.example:25"]}
    opened = {"name": "t", "listen": ":25", "service": "raw", "nodes": EU}
    world = world_of(services=[raw], tcp_routes=[opened])

    assert used(world, "tcp_routes", "t") == used(world, "services", "raw") == where({"region": ["eu"]})
