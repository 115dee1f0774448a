"""Names of peers: which address each connection has, and for how long that is remembered."""

from __future__ import annotations

from edgeward.node.backends.resolver import Resolved
from edgeward.node.tunnels.peers import Peers
from tests.unit.vpn.values import connection, gateway

NAMED = connection(peer_address="vpn.example.com")
OTHER = connection(id="00000000-0000-4000-8000-000000000002")


class Nobody:
    async def resolve(self, name: str) -> Resolved:
        raise AssertionError(name)


def loaded() -> Peers:
    """Give them as they begin: both were loaded before."""
    found = Peers(Nobody())
    found.remember([NAMED.model_copy(update={"peer_address": "198.51.100.20"}), OTHER])
    return found


def test_what_was_loaded_last_is_believed_until_dns_answers() -> None:
    followed = loaded().followed([gateway(NAMED, OTHER)])

    assert [one.peer_address for one in followed[0].connections] == ["198.51.100.20", "198.51.100.9"]


def test_nothing_is_remembered_of_a_connection_that_is_gone() -> None:
    peers = loaded()
    peers.followed([gateway(NAMED, OTHER)])

    peers.followed([gateway(OTHER)])
    assert (set(peers._last), peers._named, peers._followed) == ({OTHER.id}, {}, {})
    assert peers.followed([gateway(NAMED)])[0].connections[0].peer_address == "vpn.example.com"
    peers.followed([])
    assert (peers._last, peers._named, peers._followed) == ({}, {}, {})
