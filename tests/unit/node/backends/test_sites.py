"""Which relays lead to backends behind sites, and what is said where none does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.gateway.model import Behind, Service
from edgeward.node.backends.sites import NO_RESOLVER, Relay, Site, problem, relay, settled, sites, wanted
from edgeward.node.tunnels.telling import Doing
from edgeward.parsing import parse
from edgeward.vpn.desired import Connection, Gateway, Ike, Ipsec, Proposal, Psk
from edgeward.vpn.driver import Phase, State

UP = Site("vpn-0123456789ab", NO_RESOLVER)
ONE = "11111111-1111-1111-1111-111111111111"
_PROPOSALS = (Proposal(encryption="aes-256-gcm-16", groups=("group19",)),)


def gateway(name: str, dns: str | None = None, **more: object) -> Gateway:
    connection = Connection(
        id=ONE,
        name=name,
        local_address="203.0.113.1",
        peer_address="203.0.113.9",
        local_id="203.0.113.1",
        peer_id="203.0.113.9",
        local_networks=("10.0.0.0/24",),
        peer_networks=("192.168.4.0/24",),
        dns=dns,
        ike=Ike(proposals=_PROPOSALS),
        ipsec=Ipsec(proposals=_PROPOSALS),
        auth=Psk(secret="secret"),
    )
    values = {"id": "0123456789ab", "name": name, "connections": (connection,), **more}
    return Gateway.model_validate(values)


def service(*backends: str, project: str = "default") -> Service:
    return parse(Service, {"name": "shop", "project": project, "backends": list(backends)})


def doing(phase: Phase | None = "active", reason: str = "", daemon: str = "running") -> dict[str, Doing]:
    states = {} if phase is None else {ONE: State(connection=ONE, phase=phase, since=0, reason=reason)}
    return {"0123456789ab": Doing(daemon, 0, "it did not start" if daemon == "down" else "", states)}


def test_a_site_is_up_once_its_connection_is_active() -> None:
    shown = gateway("acme/berlin", dns="192.168.4.2")

    found = sites([shown], doing())

    assert found["acme", "berlin"] == found["acme", ONE] == Site("vpn-0123456789ab", "192.168.4.2")


@pytest.mark.parametrize(
    ("doings", "trouble"),
    [
        ({}, "is not set up here yet"),
        (doing(None), "is not loaded yet"),
        (doing("down", "the peer does not answer"), "is down: the peer does not answer"),
        (doing("connecting"), "is being built"),
        (doing("active", daemon="standby"), "stands by: another node has it active"),
        (doing(None, daemon="down"), "is down: it did not start"),
    ],
)
def test_a_site_that_is_not_up_says_why(doings: dict[str, Doing], trouble: str) -> None:
    assert sites([gateway("acme/berlin")], doings)["acme", "berlin"].trouble == trouble


@pytest.mark.parametrize(
    ("doings", "known"),
    [
        ({}, False),
        (doing(None, daemon="starting"), False),
        (doing(None), False),
        (doing("down"), True),
        (doing(None, daemon="down"), True),
        (doing(None, daemon="standby"), True),
    ],
)
def test_before_it_was_looked_how_tunnels_do_nobody_says_they_are_down(
    doings: dict[str, Doing], known: bool
) -> None:
    assert settled([gateway("acme/berlin")], doings) is known


def test_a_site_in_somebody_elses_namespace_is_reached_there() -> None:
    assert sites([gateway("a/b", namespace="qrouter-1")], {})["a", "b"].namespace == "qrouter-1"


def test_an_address_needs_no_resolver_and_a_name_needs_the_sites_own() -> None:
    knowing = Site("vpn-0123456789ab", "192.168.4.2")

    assert relay(knowing, Behind("berlin", "192.168.4.10", 80)) == Relay(
        "vpn-0123456789ab", "192.168.4.10", 80, NO_RESOLVER
    )
    assert relay(knowing, Behind("berlin", "intranet.lan", 80)) == Relay(
        "vpn-0123456789ab", "intranet.lan", 80, "192.168.4.2"
    )
    assert relay(UP, Behind("berlin", "intranet.lan", 80)) is None
    assert "no dns server" in problem(UP, Behind("berlin", "intranet.lan", 80))


def test_services_of_two_projects_go_to_the_sites_of_their_own() -> None:
    known = {("a", "office"): Site("vpn-00000000000a", NO_RESOLVER), ("b", "office"): UP}
    both = [service("vpn://office/10.0.0.1:80", project=name) for name in ("a", "b")]

    assert {one.namespace for one in wanted(both, known)} == {"vpn-00000000000a", "vpn-0123456789ab"}


def test_one_relay_serves_all_services_that_lead_to_the_same_place() -> None:
    both = [service("vpn://s/10.0.0.1:80"), service("http://example.com", "vpn://s/10.0.0.1:80")]

    assert len(wanted(both, {("default", "s"): UP})) == 1


def test_a_service_whose_site_is_not_here_needs_no_relay_and_says_so() -> None:
    assert wanted([service("vpn://rome/10.0.0.1:80")], {}) == frozenset()
    assert problem(None, Behind("rome", "10.0.0.1", 80)) == "this node has no gateway of site rome"


@given(st.sets(st.tuples(st.ip_addresses(), st.integers(1, 65535)), min_size=2, max_size=20))
def test_relays_that_lead_elsewhere_have_other_names_that_rootd_takes(
    places: set[tuple[object, int]],
) -> None:
    names = {Relay("vpn-0", str(address), port, NO_RESOLVER).name for address, port in places}

    assert len(names) == len(places)
    assert all((len(name) == 16 and name.isalnum() and name.islower()) or name.isdigit() for name in names)
