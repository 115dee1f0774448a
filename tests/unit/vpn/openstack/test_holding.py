"""What must hold between OpenStack's objects, declared in a file."""

from __future__ import annotations

import pytest

from edgeward.declaration.document import from_data
from edgeward.errors import Invalid
from edgeward.kinds import KINDS
from edgeward.vpn.desired import MOST_CONNECTIONS
from edgeward.vpn.openstack import rules
from edgeward.vpn.openstack.networks import Router
from edgeward.vpn.openstack.services import SiteConnection, VpnService
from edgeward.vpn.openstack.view import Objects
from edgeward.world.checks import check
from edgeward.world.objects import World
from edgeward.world.touch import touched_by

NETWORKS = [{"name": "world", "external": True}, {"name": "inner"}]
SUBNETS = [
    {"name": "out", "network": "world", "cidr": "203.0.113.0/24", "gateway_ip": "203.0.113.1"},
    {"name": "in", "network": "inner", "cidr": "10.1.0.0/24"},
    {"name": "in6", "network": "inner", "cidr": "2001:db8:1::/64"},
    {"name": "elsewhere", "network": "inner", "cidr": "10.7.0.0/24"},
]
ROUTERS = [
    {
        "name": "gw",
        "gateway": {"network": "world", "addresses": [{"subnet": "out", "address": "203.0.113.5"}]},
        "interfaces": [
            {"subnet": "in", "address": "10.1.0.1"},
            {"subnet": "in6", "address": "2001:db8:1::1"},
        ],
    },
    {"name": "closed", "interfaces": [{"subnet": "in", "address": "10.1.0.2"}]},
]
SERVICES = [{"name": "svc", "router": "gw"}, {"name": "old", "router": "gw", "subnet": "in"}]
GROUPS = [
    {"name": "here", "type": "subnet", "endpoints": ["in"]},
    {"name": "both", "type": "subnet", "endpoints": ["in", "in6"]},
    {"name": "off", "type": "subnet", "endpoints": ["elsewhere"]},
    {"name": "there", "type": "cidr", "endpoints": ["10.2.0.0/24", "10.3.0.0/24"]},
    {"name": "there6", "type": "cidr", "endpoints": ["2001:db8:2::/64"]},
    {"name": "mixed", "type": "cidr", "endpoints": ["2001:db8:2::/64", "10.2.0.0/24"]},
]
CONNECTION = {
    "name": "con",
    "vpnservice": "svc",
    "ikepolicy": "ike",
    "ipsecpolicy": "ipsec",
    "local_ep_group": "here",
    "peer_ep_group": "there",
    "peer_address": "203.0.113.9",
    "peer_id": "203.0.113.9",
}
LEGACY = {"vpnservice": "old", "local_ep_group": None, "peer_ep_group": None, "peer_cidrs": ["10.2.0.0/24"]}


def found(**changed: object) -> list[str]:
    document = {
        "networks": NETWORKS,
        "subnets": SUBNETS,
        "routers": ROUTERS,
        "ikepolicies": [{"name": "ike"}],
        "ipsecpolicies": [{"name": "ipsec"}, {"name": "twice", "transform_protocol": "ah-esp"}],
        "vpnservices": SERVICES,
        "endpoint_groups": GROUPS,
        "ipsec_site_connections": [CONNECTION],
    }
    objects = from_data({"version": 1, **document, **changed}, "f", KINDS).objects
    return [f"{problem.object} {problem}" for problem in check(objects)]


def of_connection(**changed: object) -> list[str]:
    return found(ipsec_site_connections=[{**CONNECTION, **changed}])


def test_a_whole_site_holds():
    assert found() == []
    assert of_connection(**LEGACY) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"vpnservice": "no"}, "vpnservice: there is no 'no' among the vpnservices of project default"),
        ({"peer_ep_group": "no"}, "peer_ep_group: there is no 'no' among the endpoint_groups"),
        ({"ipsecpolicy": "twice"}, "ipsecpolicy: IPSec does not support IPsec Policy attribute transform_p"),
        ({"peer_cidrs": ["10.9.0.0/24"]}, "peer_cidrs: peer CIDRs cannot be specified, when using endpoint gr"),
        ({"peer_ep_group": None}, "peer_ep_group: missing endpoint group peer for IPSec site-to-site conne"),
        ({"local_ep_group": None, "peer_ep_group": None}, "local_ep_group: missing endpoint groups local and peer"),
        ({"local_ep_group": "there"}, "local_ep_group: endpoint group 'there' type is 'cidr' and should be 's"),
        ({"peer_ep_group": "here"}, "peer_ep_group: endpoint group 'here' type is 'subnet' and should be 'cidr'"),
        ({"local_ep_group": "both"}, "local_ep_group: endpoints in group 'both' do not have the same IP version"),
        ({"peer_ep_group": "mixed"}, "peer_ep_group: endpoints in group 'mixed' do not have the same IP version"),
        ({"peer_ep_group": "there6"}, "IP versions are not compatible between peer and local endpoints"),
        ({"local_ep_group": "off"}, "local_ep_group: subnet 'elsewhere' is not connected to Router 'gw'"),
        ({"dpd": {"interval": 30, "timeout": 30}}, "dpd.timeout: ipsec_site_connection dpd_timeout is equal to"),
        ({"mtu": 67}, "mtu: ipsec_site_connection MTU 67 is too small for ipv4"),
        ({"peer_address": "2001:db8::9"}, "peer_address: router's 'gw' external network has no IPv6 subnet"),
        ({**LEGACY, "peer_cidrs": []}, "peer_cidrs: missing peer CIDRs for IPsec site-to-site connection"),
        ({**LEGACY, "local_ep_group": "here"}, "local_ep_group: endpoint group local cannot be specified, when"),
        ({**LEGACY, "peer_cidrs": ["10.2.0.0/24", "::/0"]}, "peer_cidrs: peer CIDRs do not have the same IP v"),
    ],
)  # fmt: skip
def test_what_does_not_hold_of_a_connection_is_said_of_its_field(changed, sentence):
    problems = of_connection(**changed)

    assert len(problems) == 1
    assert problems[0].startswith(f"ipsec_site_connections/default/con {sentence}")


def test_an_mtu_of_zero_says_nothing():
    assert of_connection(mtu=0) == []


@pytest.mark.parametrize(
    ("service", "sentence"),
    [
        ({"router": "closed"}, "router: router 'closed' has no external network gateway set"),
        (
            {"router": "gw", "subnet": "elsewhere"},
            "subnet: subnet 'elsewhere' is not connected to Router 'gw'",
        ),
    ],
)
def test_a_service_needs_a_router_that_reaches_the_world(service, sentence):
    problems = found(vpnservices=[*SERVICES, {"name": "bad", **service}])

    assert problems == [f"vpnservices/default/bad {sentence}"]


def test_services_of_one_router_have_one_daemon():
    services = [
        {"name": n, "router": "gw", "driver": d} for n, d in (("a", "strongswan"), ("b", "libreswan"))
    ]

    problems = found(vpnservices=[*SERVICES, *services])

    assert [p.partition(" ")[0] for p in problems] == ["vpnservices/default/a", "vpnservices/default/b"]
    assert "has a VPN service of another flavor" in problems[0]
    assert found(vpnservices=[*SERVICES, services[1]]) == []


@pytest.mark.parametrize(
    ("driver", "second", "refused"),
    [
        ("libreswan", {}, True),
        ("libreswan", {"ipsecpolicy": "ipsec"}, False),
        ("libreswan", {"peer_id": "another"}, False),
        ("libreswan", {"admin_state_up": False}, False),
        ("strongswan", {}, False),
        (None, {}, False),
    ],
)
def test_connections_between_the_same_peers_have_one_offer_with_libreswan(driver, second, refused):
    service = {"name": "chosen", "router": "gw", "driver": driver}
    first = {**CONNECTION, "vpnservice": "chosen"}
    other = {**first, "name": "con2", "ipsecpolicy": "strong", "peer_ep_group": "far", **second}

    problems = found(
        vpnservices=[service],
        endpoint_groups=[*GROUPS, {"name": "far", "type": "cidr", "endpoints": ["10.9.0.0/24"]}],
        ipsecpolicies=[{"name": "ipsec"}, {"name": "strong", "encryption_algorithm": "aes-256"}],
        ipsec_site_connections=[first, other],
    )

    assert bool(problems) == refused, problems
    assert all("Libreswan takes one's offers for the other's" in problem for problem in problems)


def test_a_router_has_room_for_so_many_connections():
    view = Objects([SiteConnection(**{**CONNECTION, "name": f"c{n}"}) for n in range(MOST_CONNECTIONS)])
    view = Objects([*view.of(SiteConnection), VpnService(name="svc", router="gw"), Router(name="gw")])

    assert rules.of_quota(view, "default", SiteConnection(**{**CONNECTION, "name": "c7"})) is None
    refused = rules.of_quota(view, "default", SiteConnection(**{**CONNECTION, "name": "more"}))
    assert refused is not None
    assert (refused.status, refused.type) == (409, "OverQuota")


def test_a_group_names_nothing_twice():
    twice = {"name": "twice", "type": "cidr", "endpoints": ["10.2.0.0/24", "10.2.0.0/24"]}

    assert "Endpoints have to be unique" in found(endpoint_groups=[*GROUPS, twice])[0]


def test_a_group_of_networks_holds_networks():
    with pytest.raises(Invalid, match=r"endpoints\[1\]: '10.2.0.0/99' is no network"):
        found(endpoint_groups=[{"name": "g", "type": "cidr", "endpoints": ["10.2.0.0/24", "10.2.0.0/99"]}])


@pytest.mark.parametrize(
    ("router", "sentence"),
    [
        ({"gateway": {"network": "inner"}}, "gateway.network: 'inner' is not external"),
        ({"gateway": {"network": "no"}}, "gateway.network: there is no 'no' among the networks"),
        (
            {"gateway": {"network": "world", "addresses": [{"subnet": "in", "address": "10.1.0.5"}]}},
            "gateway.addresses[0].subnet: 'in' is no subnet of 'world'",
        ),
        (
            {"gateway": {"network": "world", "addresses": [{"subnet": "out", "address": "10.1.0.5"}]}},
            "gateway.addresses[0].address: 10.1.0.5 is not in 203.0.113.0/24",
        ),
        (
            {"interfaces": [{"subnet": "in", "address": "10.2.0.1"}]},
            "interfaces[0].address: 10.2.0.1 is not in",
        ),
        (
            {"interfaces": [{"subnet": "in", "address": f"10.1.0.{n}"} for n in range(1, 66)]},
            "interfaces: a router has at most 64; give some of the subnets another router",
        ),
    ],
)
def test_a_routers_addresses_are_of_its_networks(router, sentence):
    problems = found(routers=[*ROUTERS, {"name": "bad", **router}])

    assert problems[0].startswith(f"routers/default/bad {sentence}")


def test_an_external_network_is_every_projects():
    router = {
        "name": "theirs",
        "project": "b",
        "gateway": {"network": "world", "addresses": [{"subnet": "out", "address": "203.0.113.6"}]},
    }

    assert found(routers=[*ROUTERS, router]) == []
    assert found(routers=[*ROUTERS, {**router, "gateway": {"network": "inner"}}]) != []


def test_a_change_touches_everything_that_stands_on_it():
    world = World()
    document = {
        "networks": NETWORKS,
        "subnets": SUBNETS,
        "routers": ROUTERS,
        "vpnservices": SERVICES,
        "endpoint_groups": GROUPS,
        "ikepolicies": [{"name": "ike"}],
        "ipsecpolicies": [{"name": "ipsec"}],
        "ipsec_site_connections": [CONNECTION],
    }
    objects = from_data({"version": 1, **document}, "f", KINDS).objects
    for declared in objects:
        world.put(declared.key, declared.value)
    keys = {(d.key.kind, d.key.name): d.key for d in objects}

    def touched(kind: str, name: str) -> set[str]:
        key = keys[kind, name]
        return {str(k).replace("/default/", "/") for k in touched_by(world, key, world.get(key), None)}

    assert touched("ikepolicies", "ike") == {"ipsec_site_connections/con"}
    assert {"vpnservices/svc", "ipsec_site_connections/con", "routers/gw"} <= touched("networks", "world")
    assert {"routers/gw", "endpoint_groups/here", "ipsec_site_connections/con"} <= touched("subnets", "in")
    for declared in objects:
        world.remove(declared.key)
    assert not world.of_kind("routers")
