"""What would not come up is found before it is tried, with the field and the remedy."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.declaration.model import Declared, Key
from edgeward.errors import Invalid
from edgeward.parsing import parse
from edgeward.rootd.table import network as rootd
from edgeward.sealing import Sealed
from edgeward.vpn import agreement
from edgeward.vpn.desired import MOST_INSIDE
from edgeward.vpn.site import Site
from edgeward.world.checks import check, problems
from edgeward.world.objects import World
from edgeward.world.touch import touched_by
from tests.unit.vpn.sites import SEAL, site

OWN = {"address": "203.0.113.5/24", "next_hop": "203.0.113.1", "bridge": "br-wan"}
SAME = Sealed.of("one for both", SEAL)
ESP = {"proposals": [{"encryption": "aes-128", "integrity": "sha256"}]}
IKE = {"proposals": [{"encryption": "aes-128", "integrity": "sha256", "groups": ["group14"]}]}


def found(*sites: Site) -> list[tuple[str, str]]:
    """Give (object, field) of what does not hold between these."""
    declared = [Declared(Key("vpn", s.project, s.name), s) for s in sites]
    return sorted((p.object or "", p.field) for p in check(declared))


def test_a_site_by_itself_and_many_on_one_router_are_fine():
    assert found(site()) == []
    some = [
        site(f"s{n}", router="edge", peer=f"198.51.100.{n}", remote_networks=[f"172.16.{n}.0/24"])
        for n in range(1, 9)
    ]
    assert found(*some) == []


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"mtu": 1200, "local_networks": ["2001:db8::/64"], "remote_networks": ["2001:db8:1::/64"]}, "mtu"),
        ({"remote_id": "@here.example"}, "remote_id"),
        ({"remote_networks": ["2001:db8:1::/64"]}, "remote_networks"),
        ({"profile": {"ike": IKE, "ipsec": {**ESP, "mode": "transport"}}}, "profile.ipsec.mode"),
        ({"profile": {"ike": IKE, "ipsec": {**ESP, "protocol": "ah"}}}, "profile.ipsec.protocol"),
        ({"peer": "2001:db8::9", "outside": OWN}, "peer"),
        ({"peer": "203.0.113.5", "outside": OWN}, "peer"),
        ({"outside": {"address": "203.0.113.5/24", "bridge": "br-wan"}}, "peer"),
        ({"namespace": "qrouter-1"}, "namespace"),
    ],
)
def test_what_a_site_alone_cannot_be_is_told_by_its_field(said, field):
    assert found(site(**said)) == [("vpn/default/berlin", field)]


@pytest.mark.parametrize(
    "said",
    [
        {"outside": OWN, "local_id": None},
        {"local_id": None},
        {"outside": {"address": "198.51.100.1/24", "bridge": "br-wan"}, "local_id": None},
        {"outside": {"address": "203.0.113.5/32"}, "local_id": None},
        {"outside": OWN, "profile": {"ike": IKE, "ipsec": {**ESP, "protocol": "ah"}}},
    ],
)
def test_a_gateway_with_an_address_of_its_own_needs_less(said):
    assert found(site(**said)) == []


def test_sites_of_one_router_do_not_contradict_each_other_about_it():
    one = site("one", router="edge", outside=OWN, driver="strongswan", nodes={"region": "eu"})
    other = {"router": "edge", "peer": "198.51.100.8", "remote_networks": ["192.168.9.0/24"]}
    assert found(one, site("two", **other)) == []
    assert found(one, site("two", **other, driver="libreswan")) == [("vpn/default/two", "driver")]
    assert found(one, site("two", **other, nodes={"region": "us"})) == [("vpn/default/two", "nodes")]
    assert found(one, site("two", **other | {"router": "own"}, driver="libreswan")) == []


def test_two_sites_of_one_router_do_not_carry_the_same_packets():
    two = {"peer": "198.51.100.8", "remote_networks": ["192.168.0.0/16"]}
    assert found(site("one", router="edge"), site("two", router="edge", **two)) == [
        ("vpn/default/two", "remote_networks")
    ]
    assert found(site("one"), site("two", **two)) == []
    assert found(site("one", router="edge"), site("two", router="edge", enabled=False, **two)) == []
    apart = {**two, "local_networks": ["10.7.0.0/24"]}
    assert found(site("one", router="edge"), site("two", router="edge", **apart)) == []


def test_networks_made_to_take_for_ever_are_refused_soon():
    many = [f"10.{n}.0.0/16" for n in range(100)]
    sites = [
        site(
            f"s{n}",
            router="edge",
            peer=f"198.51.100.{n}",
            remote_networks=["0.0.0.0/1", *many[:99]],
            local_networks=[f"192.{n}.{i}.0/25" for i in range(100)],
        )
        for n in range(22)
    ]
    told = agreement.of_router(sites)
    assert any("too many networks" in message for problems in told.values() for _, message in problems)


def test_a_router_has_so_many_sites_and_no_more(monkeypatch):
    monkeypatch.setattr(agreement, "MOST_CONNECTIONS", 3)
    some = [
        site(f"s{n}", router="edge", peer=f"198.51.100.{n}", remote_networks=[f"172.16.{n}.0/24"])
        for n in range(4)
    ]
    assert found(*some) == [("vpn/default/s3", "router")]


def test_a_router_is_in_so_many_networks_and_no_more():
    assert MOST_INSIDE == rootd.MOST_INSIDE

    def sites(number: int, **said: object) -> list[Site]:
        edge = {"router": "edge", "outside": OWN, **said}
        some = [[f"10.{n}.{i}.0/24" for i in range(number // 2)] for n in range(2)]
        return [
            site(
                name,
                peer=f"198.51.100.{n}",
                local_networks=local,
                remote_networks=[f"172.16.{n}.0/24"],
                **edge,
            )
            for n, (name, local) in enumerate(zip(("one", "two"), some, strict=True))
        ]

    assert found(*sites(64)) == []
    assert found(*sites(66)) == [("vpn/default/two", "local_networks")]
    assert found(*sites(66, namespace="qrouter-1")) == []
    (problem,) = check([Declared(Key("vpn", "default", s.name), s) for s in sites(66)])
    assert problem.message == (
        "its router would have over 64 networks here; say larger ones, or another router"
    )


def test_sites_with_the_same_peer_and_ids_are_one_connection_or_refused():
    two = {"router": "edge", "remote_networks": ["192.168.5.0/24"]}
    one = site("one", router="edge", secret=SAME)
    assert found(one, site("two", secret=SAME, **two)) == []
    assert found(one, site("two", **two)) == [("vpn/default/two", "secret")]
    assert found(one, site("two", secret=SAME, profile="compatible", **two)) == [
        ("vpn/default/two", "profile")
    ]
    assert found(one, site("two", remote_id="@two.example", **two)) == []


def test_libreswan_is_not_asked_to_tell_apart_what_it_cannot():
    ike = {"ike": {**IKE, "version": 2}}
    gcm, plain = ({"encryption": "aes-256-gcm-16"}, {"encryption": "aes-256", "integrity": "sha256"})
    same = {"router": "edge", "secret": SAME}
    one = {**same, "profile": {**ike, "ipsec": {"proposals": [gcm]}}}
    two = {**same, "profile": {**ike, "ipsec": {"proposals": [plain]}}, "remote_networks": ["192.168.5.0/24"]}

    assert found(site("one", **one), site("two", **two)) == []
    both = [site("one", driver="libreswan", **one), site("two", driver="libreswan", **two)]
    assert found(*both) == [("vpn/default/two", "profile")]
    assert found(both[0], site("two", driver="libreswan", remote_id="@two.example", **two)) == []


def test_two_routers_that_share_an_address_do_not_share_a_peer():
    assert found(site("one"), site("two")) == [("vpn/default/one", "peer"), ("vpn/default/two", "peer")]
    assert found(site("one"), site("two", outside=OWN)) == []
    assert found(site("one", nodes={"rack": "a"}), site("two", nodes={"rack": "b"})) == []
    (one, two) = (s for s in check([Declared(Key("vpn", p, "s"), site("s", project=p)) for p in ("a", "b")]))
    assert "another project" in one.message
    assert "another project" in two.message


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"driver": "libreswan", "local_id": "a, b = {c}"}, "local_id"),
        ({"driver": "libreswan", "remote_id": "a, b = {c}"}, "remote_id"),
        ({"driver": "libreswan", "profile": {"ike": {**IKE, "lifetime": 90000}, "ipsec": ESP}}, "profile.ike.lifetime"),
        ({"profile": {"ike": {**IKE, "version": 1}, "ipsec": {"proposals": [{"encryption": "aes-128", "integrity": "aes-cmac"}]}}},
         "profile.ipsec.integrity"),
    ],
)  # fmt: skip
def test_what_the_driver_cannot_do_is_told_by_the_field_of_the_site(said, field):
    assert found(site(**said)) == [("vpn/default/berlin", field)]


@pytest.mark.parametrize("driver", ["strongswan", "libreswan", "memory"])
@pytest.mark.parametrize("profile", ["modern", "compatible"])
def test_every_driver_takes_the_profiles_that_have_names(driver, profile):
    assert found(site(driver=driver, profile=profile)) == []


def test_what_a_change_puts_right_is_right_for_the_others_too():
    world = World()
    keys = [Key("vpn", "default", name) for name in ("one", "two")]
    world.put(keys[0], site("one", router="edge", driver="libreswan"))
    two = site("two", router="edge", peer="198.51.100.8", remote_networks=["192.168.9.0/24"])
    world.put(keys[1], two.model_copy(update={"driver": "strongswan"}))
    assert [p.field for p in problems(world, keys[1])] == ["driver"]
    assert keys[1] in touched_by(world, keys[0], world.get(keys[0]))
    world.remove(keys[0])
    assert problems(world, keys[1]) == []


_networks = st.builds(
    lambda a, length: str(ipaddress.ip_network((a, length), strict=False)),
    st.integers(0xAC100000, 0xAC1000FF),
    st.integers(24, 32),
)


@given(st.lists(st.lists(_networks, min_size=1, max_size=3), min_size=2, max_size=5))
def test_overlaps_are_found_exactly_where_two_sites_overlap(remotes):
    sites = [
        site(f"s{n}", router="edge", peer=f"198.51.100.{n}", remote_networks=networks)
        for n, networks in enumerate(remotes)
    ]
    told = {name for name, problems in agreement.of_router(sites).items() if problems}
    parsed = [[ipaddress.ip_network(text) for text in networks] for networks in remotes]
    expected = {
        f"s{late}"
        for late in range(len(sites))
        if any(a.overlaps(b) for early in parsed[:late] for a in early for b in parsed[late])
    }
    assert told == expected


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"peer": "*.example.com"}, "peer"),
        ({"peer": "fe80::1%eth0"}, "peer"),
        ({"peer": "no spaces.example"}, "peer"),
        ({"local_id": "a\nb"}, "local_id"),
        ({"remote_networks": ["192.168.4.0/33"]}, "remote_networks[0]"),
        ({"remote_networks": []}, "remote_networks"),
        ({"outside": {"address": ["203.0.113.5/24", "203.0.113.6/24"]}}, "outside"),
        ({"outside": {"address": "203.0.113.5/24", "next_hop": "198.51.100.1"}}, "outside"),
        ({"inside": [{"network": "10.1.0.0/24", "bridge": "a b"}]}, "inside[0].bridge"),
        ({"inside": [{"network": "10.1.0.0/24", "address": "10.2.0.1"}]}, "inside[0]"),
        ({"profile": "new"}, "profile"),
        (
            {"profile": {"ike": {"proposals": [{"encryption": "rot13"}]}, "ipsec": ESP}},
            "profile.ike.proposals[0].encryption",
        ),
        ({"profile": {"ike": ESP, "ipsec": ESP}}, "profile.ike"),
        ({"profile": {"ike": IKE, "ipsec": {"proposals": [{"encryption": "aes-128"}]}}}, "profile.ipsec"),
        ({"secret": None}, ""),
        ({"local_networks": ["192.168.4.0/25"]}, ""),
    ],
)
def test_what_is_no_site_is_refused_by_its_field(said, field):
    data = site().model_dump(exclude_defaults=True) | {"name": "berlin"} | said
    with pytest.raises(Invalid) as refused:
        parse(Site, data)
    assert [p.field for p in refused.value.problems][:1] == [field]
