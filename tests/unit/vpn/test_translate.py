"""Sites become gateways: what is shared by a router, and what each connection gets of its own."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from edgeward.vpn.desired import Gateway, Psk
from edgeward.vpn.naming import connection_id, gateway_id
from edgeward.vpn.site import Site
from edgeward.vpn.translate import drawn, grouped, router_of
from tests.unit.vpn.sites import SEAL, site


def gateway(*sites: Site) -> Gateway:
    return drawn(router_of(sites[0]), sites, lambda sealed: sealed.reveal(SEAL)).gateway


def test_a_site_by_itself_is_a_gateway_of_its_own():
    found = gateway(site())
    assert found.id == gateway_id("default", "vpn", "berlin")
    assert found.name == "default/berlin"
    assert [c.id for c in found.connections] == [connection_id("default", "berlin")]
    (connection,) = found.connections
    assert connection.auth == Psk(secret="secret of berlin")
    assert (connection.local_id, connection.peer_id) == ("@here.example", "198.51.100.9")
    assert connection.local_address == "0.0.0.0"
    assert [(i.network, i.address, i.bridge) for i in found.inside] == [("10.1.0.0/24", "10.1.0.1", None)]


def test_sites_of_one_router_share_its_gateway_whoever_says_what_it_is():
    outside = {"address": ["203.0.113.5/24", "2001:db8::5/64"], "next_hop": "203.0.113.1", "bridge": "br-wan"}
    one = site("one", router="edge", local_id=None)
    six = site("six", router="edge", peer="2001:db8:1::9", local_id=None, outside=outside, driver="libreswan")
    groups = grouped([one, six, site("alone")])
    assert sorted(str(router) for router in groups) == ["default/alone", "default/edge"]
    found = gateway(*groups[router_of(one)])
    assert found == gateway(six, one)
    assert found.driver == "libreswan"
    assert (found.outside.next_hops, found.outside.bridge) == (("203.0.113.1",), "br-wan")
    assert [c.local_address for c in found.connections] == ["203.0.113.5", "2001:db8::5"]
    assert [c.local_id for c in found.connections] == ["203.0.113.5", "2001:db8::5"]


def test_what_is_said_of_an_inner_network_wins_over_its_first_address():
    inside = [{"network": "10.1.0.0/16", "address": "10.1.0.254", "bridge": "br-lan"}]
    found = gateway(site(local_networks=["10.1.2.0/24", "10.9.0.0/31"], inside=inside))
    assert [(i.network, i.address, i.bridge) for i in found.inside] == [
        ("10.1.0.0/16", "10.1.0.254", "br-lan"),
        ("10.9.0.0/31", "10.9.0.0", None),
    ]


def test_a_network_that_another_site_brings_is_none_of_this_side():
    hub = site("hub", router="edge", local_networks=["10.1.0.0/24", "192.168.5.0/24"])
    spoke = site("spoke", router="edge", remote_networks=["192.168.5.0/24"])
    assert [i.network for i in gateway(hub, spoke).inside] == ["10.1.0.0/24"]


_networks = st.builds(
    lambda a, length: str(ipaddress.ip_network((a, length), strict=False)),
    st.integers(2**24, 2**32 - 2**29).filter(lambda a: a >> 24 != 192),
    st.integers(8, 32),
)


@given(st.lists(_networks, min_size=1, max_size=5))
def test_every_inner_address_is_in_its_network_and_survives_the_way_to_a_node(networks):
    found = gateway(site(local_networks=networks, remote_networks=["192.0.2.0/24"]))
    for one in found.inside:
        assert ipaddress.ip_address(one.address) in ipaddress.ip_network(one.network)
    assert Gateway.model_validate_json(found.model_dump_json()) == found


def test_ml_kem_is_offered_first_where_the_daemon_may_have_it():
    first, *others = gateway(site()).connections[0].ike.proposals
    assert first.groups == ("group20", "mlkem768")
    assert [offer.groups for offer in others] == [("group20",)]
    plain = gateway(site(driver="libreswan")).connections[0]
    assert {offer.groups for offer in (*plain.ike.proposals, *plain.ipsec.proposals)} == {("group20",)}


def test_what_no_daemon_has_is_left_out_unless_nothing_would_be_left():
    one = gateway(site()).connections[0]
    assert one.without_additional(frozenset({"mlkem768"})) is one
    assert [offer.groups for offer in one.without_additional().ipsec.proposals] == [("group20",)]
    only = one.model_copy(update={"ike": one.ike.model_copy(update={"proposals": one.ike.proposals[:1]})})
    assert only.without_additional().ike.proposals == only.ike.proposals
