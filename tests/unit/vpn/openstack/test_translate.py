"""What OpenStack's objects mean for nodes."""

from __future__ import annotations

import uuid

import pytest

from edgeward.declaration import secrets
from edgeward.declaration.document import from_data
from edgeward.kinds import KINDS
from edgeward.sealing import Seal, new_key
from edgeward.vpn import naming
from edgeward.vpn.openstack.translate import drawn, grouped

SEAL = Seal(new_key())
ROUTER = naming.Router("default", "routers", "gw")
DOCUMENT = {
    "networks": [
        {"name": "world", "external": True, "bridge": "br-ex"},
        {"name": "inner", "bridge": "br-in"},
    ],
    "subnets": [
        {"name": "out", "network": "world", "cidr": "203.0.113.0/24", "gateway_ip": "203.0.113.1"},
        {"name": "out6", "network": "world", "cidr": "2001:db8::/64", "gateway_ip": "2001:db8::1"},
        {"name": "in", "network": "inner", "cidr": "10.1.0.0/24"},
    ],
    "routers": [
        {
            "name": "gw",
            "nodes": {"region": "eu"},
            "gateway": {
                "network": "world",
                "addresses": [
                    {"subnet": "out", "address": "203.0.113.5"},
                    {"subnet": "out6", "address": "2001:db8::5"},
                ],
            },
            "interfaces": [{"subnet": "in", "address": "10.1.0.1"}],
        },
        {"name": "idle", "gateway": {"network": "world"}},
    ],
    "ikepolicies": [{"name": "ike", "phase1_negotiation_mode": "aggressive"}],
    "ipsecpolicies": [
        {"name": "ipsec", "encryption_algorithm": "aes-128-gcm-16", "lifetime": {"value": 1800}}
    ],
    "vpnservices": [{"name": "svc", "router": "gw", "subnet": "in", "driver": "libreswan"}],
    "ipsec_site_connections": [
        {
            "name": "con",
            "label": "to Berlin",
            "vpnservice": "svc",
            "ikepolicy": "ike",
            "ipsecpolicy": "ipsec",
            "peer_cidrs": ["10.2.0.5/24"],
            "peer_address": "203.0.113.9",
            "peer_id": "203.0.113.9",
            "psk": "hush",
            "initiator": "response-only",
        }
    ],
}


def gateway(**changed: object):
    objects = from_data({"version": 1, **DOCUMENT, **changed}, "f", KINDS, door=secrets.sealing(SEAL)).objects
    groups = grouped(declared.value for declared in objects)
    assert list(groups) == [ROUTER]
    return drawn(ROUTER, groups[ROUTER], lambda sealed: sealed.reveal(SEAL))


def connection(**changed: object):
    first = {**DOCUMENT["ipsec_site_connections"][0], **changed}
    return gateway(ipsec_site_connections=[first]).gateway.connections[0]


def test_a_router_with_services_is_a_gateway():
    found = gateway()
    made = found.gateway

    assert found.nodes == {"region": ("eu",)}
    assert made.id == naming.gateway_id("default", "routers", "gw")
    assert (made.name, made.driver, made.masquerade) == ("default/gw", "libreswan", True)
    assert made.outside.addresses == ("203.0.113.5/24", "2001:db8::5/64")
    assert made.outside.next_hops == ("203.0.113.1", "2001:db8::1")
    assert made.outside.bridge == "br-ex"
    assert [(i.network, i.address, i.bridge) for i in made.inside] == [("10.1.0.0/24", "10.1.0.1", "br-in")]


def test_a_connection_is_what_a_driver_needs():
    made = connection()

    assert uuid.UUID(made.id)
    assert made.name == "default/to Berlin"
    assert (made.local_address, made.local_id) == ("203.0.113.5", "203.0.113.5")
    assert (made.local_networks, made.peer_networks) == (("10.1.0.0/24",), ("10.2.0.0/24",))
    assert (made.initiator, made.enabled, made.mtu) == (False, True, 1500)
    assert (made.ike.version, made.ike.aggressive) == (1, True)
    assert made.ike.proposals[0].integrity == "sha1"
    assert made.ipsec.proposals[0].integrity is None  # an AEAD needs none
    assert made.ipsec.lifetime == 1800
    assert made.auth.secret.reveal() == "hush"


@pytest.mark.parametrize(
    ("peer", "local"), [("2001:db8:9::9", "2001:db8::5"), ("vpn.example.com", "203.0.113.5")]
)
def test_tunnels_end_at_the_address_of_the_peers_family(peer, local):
    assert connection(peer_address=peer).local_address == local


def test_a_uuid_is_kept_as_the_id():
    name = str(uuid.uuid4())

    assert connection(name=name).id == name


@pytest.mark.parametrize(
    "changed",
    [
        {"routers": [{**DOCUMENT["routers"][0], "enabled": False}]},
        {"vpnservices": [{**DOCUMENT["vpnservices"][0], "admin_state_up": False}]},
        {"ipsec_site_connections": [{**DOCUMENT["ipsec_site_connections"][0], "admin_state_up": False}]},
    ],
)
def test_what_is_down_at_any_level_is_known_and_down(changed):
    assert [c.enabled for c in gateway(**changed).gateway.connections] == [False]


def test_endpoint_groups_say_both_ends():
    made = gateway(
        vpnservices=[{"name": "svc", "router": "gw"}],
        endpoint_groups=[
            {"name": "here", "type": "subnet", "endpoints": ["in"]},
            {"name": "there", "type": "cidr", "endpoints": ["10.2.0.0/24", "10.3.0.0/24"]},
        ],
        ipsec_site_connections=[
            {
                **DOCUMENT["ipsec_site_connections"][0],
                "peer_cidrs": [],
                "local_ep_group": "here",
                "peer_ep_group": "there",
            }
        ],
    ).gateway.connections[0]

    assert (made.local_networks, made.peer_networks) == (("10.1.0.0/24",), ("10.2.0.0/24", "10.3.0.0/24"))


def test_an_external_network_may_be_another_projects():
    other = {
        kind: [{**one, "project": "b"} for one in DOCUMENT[kind]]
        for kind in ("routers", "ikepolicies", "ipsecpolicies", "vpnservices", "ipsec_site_connections")
    }
    other["networks"] = [DOCUMENT["networks"][0], {**DOCUMENT["networks"][1], "project": "b"}]
    other["subnets"] = [*DOCUMENT["subnets"][:2], {**DOCUMENT["subnets"][2], "project": "b"}]
    objects = from_data({"version": 1, **other}, "f", KINDS, door=secrets.sealing(SEAL)).objects
    groups = grouped(declared.value for declared in objects)
    router = naming.Router("b", "routers", "gw")
    made = drawn(router, groups[router], lambda sealed: sealed.reveal(SEAL)).gateway

    assert made.outside.bridge == "br-ex"
    assert made.connections[0].local_address == "203.0.113.5"
