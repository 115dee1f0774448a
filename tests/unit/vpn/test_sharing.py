from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from edgeward.vpn.desired import Gateway, Outside
from edgeward.vpn.sharing import shared
from tests.unit.vpn.values import connection, gateway

ANYWHERE = "0.0.0.0"
PEERS = ["198.51.100.9", "198.51.100.10", "192.0.2.1", "vpn.example.com", "2001:db8::9"]


def host(peer: str) -> str | None:
    return None if peer.startswith("192.0.2.") else "2001:db8::1" if ":" in peer else "203.0.113.1"


@st.composite
def several(draw: st.DrawFn) -> list[Gateway]:
    found = []
    for number in range(draw(st.integers(1, 4))):
        ends = draw(st.lists(st.sampled_from(PEERS), max_size=3))
        ids = [f"00000000-0000-4000-8000-{number:06}{i:06}" for i in range(len(ends))]
        ones = [
            connection(i, local_address=ANYWHERE, local_id=ANYWHERE, peer_address=e)
            for i, e in zip(ids, ends, strict=True)
        ]
        own = draw(st.booleans())
        outside = Outside(addresses=("203.0.113.5/24",)) if own else Outside()
        found.append(gateway(*ones, id=f"{number:012x}", outside=outside))
    return found


@given(several())
def test_each_peer_of_the_shared_address_is_of_one_gateway_and_what_is_left_out_says_why(gateways):
    found = shared(gateways, host)

    sharing = [one for one in found.gateways if not one.outside.addresses]
    owners = Counter(peer for one in sharing for peer in {c.peer_address for c in one.connections})
    assert all(times == 1 for times in owners.values())
    kept = {c.id for one in found.gateways for c in one.connections}
    assert kept | found.refused.keys() == {c.id for one in gateways for c in one.connections}
    assert not kept & found.refused.keys()
    for one in sharing:
        assert len({c.local_address for c in one.connections}) <= 1
        assert all(c.local_address == c.local_id == host(c.peer_address) for c in one.connections)


@given(several())
def test_who_has_an_address_of_his_own_is_left_alone(gateways):
    found = shared(gateways, host)

    assert [one for one in found.gateways if one.outside.addresses] == [
        one for one in gateways if one.outside.addresses
    ]
