"""Connections and gateways of any kind, for tests."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import strategies as st

from edgeward.secret import Secret
from edgeward.vpn.desired import (
    Certificate,
    Connection,
    Dpd,
    Gateway,
    Ike,
    Inside,
    Ipsec,
    Outside,
    Proposal,
    Psk,
)


def connection(id: str = "00000000-0000-4000-8000-000000000001", **fields: Any) -> Connection:
    """Give an ordinary one."""
    proposals = (Proposal(encryption="aes-256-gcm-16", integrity="sha384", groups=("group20",)),)
    given: dict[str, Any] = {
        "name": "default/berlin",
        "local_address": "203.0.113.5",
        "peer_address": "198.51.100.9",
        "local_id": "203.0.113.5",
        "peer_id": "198.51.100.9",
        "local_networks": ("10.1.0.0/24",),
        "peer_networks": ("10.2.0.0/24",),
        "ike": Ike(proposals=proposals),
        "ipsec": Ipsec(proposals=proposals),
        "auth": Psk(secret=Secret("a secret")),
    }
    return Connection(id=id, **given | fields)


def gateway(*connections: Connection, **fields: Any) -> Gateway:
    """Give an ordinary one."""
    given: dict[str, Any] = {
        "id": "0123456789ab",
        "name": "default/berlin",
        "driver": "memory",
        "outside": Outside(addresses=("203.0.113.5/24",), next_hops=("203.0.113.1",), bridge="br-ex"),
        "inside": (Inside(network="10.1.0.0/24", address="10.1.0.1"),),
    }
    return Gateway(connections=connections, **given | fields)


def _network(first: int) -> st.SearchStrategy[str]:
    return st.integers(0, 3).map(lambda n: str(ipaddress.ip_network((f"10.{first}.{n}.0", 24))))


IDS = st.integers(1, 6).map(lambda n: f"00000000-0000-4000-8000-{n:012}")
PROPOSALS = st.lists(
    st.builds(
        Proposal,
        encryption=st.sampled_from(["aes-128", "aes-256-gcm-16"]),
        integrity=st.sampled_from(["sha1", "sha384"]),
        groups=st.sampled_from([("group14",), ("group20",)]),
    ),
    min_size=1,
    max_size=2,
).map(tuple)
AUTHS = st.one_of(
    st.builds(Psk, secret=st.sampled_from(["a", "b"]).map(Secret)),
    st.builds(
        Certificate,
        chain=st.sampled_from(["chain 1", "chain 2"]),
        key=st.sampled_from(["key 1", "key 2"]).map(Secret),
        authority=st.just("authority"),
    ),
)
CONNECTIONS = st.builds(
    connection,
    id=IDS,
    name=st.sampled_from(["default/berlin", "default/paris"]),
    enabled=st.booleans(),
    initiator=st.booleans(),
    peer_address=st.sampled_from(["198.51.100.9", "198.51.100.10"]),
    peer_id=st.sampled_from(["198.51.100.9", "peer.example"]),
    local_networks=st.lists(_network(1), min_size=1, max_size=2, unique=True).map(tuple),
    peer_networks=st.lists(_network(2), min_size=1, max_size=2, unique=True).map(tuple),
    mtu=st.sampled_from([1300, 1500]),
    ike=st.builds(
        Ike,
        version=st.sampled_from([1, 2]),
        aggressive=st.booleans(),
        proposals=PROPOSALS,
        lifetime=st.sampled_from([3600, 7200]),
    ),
    ipsec=st.builds(Ipsec, proposals=PROPOSALS, lifetime=st.sampled_from([3600, 7200])),
    dpd=st.builds(
        Dpd,
        action=st.sampled_from(["clear", "disabled", "hold", "restart", "restart-by-peer"]),
        interval=st.sampled_from([0, 30]),
        timeout=st.sampled_from([60, 120]),
    ),
    auth=AUTHS,
)
GATEWAYS = st.builds(
    lambda connections, **fields: gateway(*connections, **fields),
    st.lists(CONNECTIONS, max_size=4, unique_by=lambda one: one.id),
    driver=st.sampled_from(["memory", "strongswan", "libreswan"]),
    active=st.booleans(),
    namespace=st.sampled_from([None, None, "qrouter-11111111-2222-4333-8444-555555555555"]),
    masquerade=st.booleans(),
    outside=st.builds(
        Outside,
        addresses=st.sampled_from([("203.0.113.5/24",), ("203.0.113.6/24", "2001:db8::5/64"), ()]),
        next_hops=st.just(("203.0.113.1",)),
        bridge=st.sampled_from(["br-ex", None]),
    ),
)
