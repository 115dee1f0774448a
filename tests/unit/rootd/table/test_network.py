from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.rootd.table import cables, guard, network, shared
from edgeward.rootd.table.network import Network
from edgeward.rootd.table.placeholders import Wrong

HOSTILE = st.text(max_size=80) | st.text(alphabet="outsidebrgnexhp-. ;/:0123456789%{}\n\"'$#!", max_size=80)
ADDRESSES = st.ip_addresses().map(str)


@pytest.mark.parametrize(
    "wrong",
    [
        1,
        "outside",
        "outside 203.0.113.5/24 br-ex",
        "outside 203.0.113.5/24; outside 203.0.113.6/24",
        "outside fe80::1%lo/64",
        "bridge ../x",
        "bridge -h",
        "bridge aaaaaaaaaaaaaaaa",
        "bridge a\nb",
        "inside 10.0.0.1/24 br-lan more",
        "standby now",
        "shared 198.51.100.1; outside 203.0.113.5/24",
        "shared 198.51.100.1; peer 2001:db8::1",
        "peer 198.51.100.1",
        "run /bin/sh",
    ],
)
def test_what_is_no_network_is_refused(wrong):
    with pytest.raises(Wrong):
        network.typed(wrong)


@given(HOSTILE)
def test_whatever_is_given_nothing_but_addresses_and_names_comes_of_it(text):
    try:
        typed = network.typed(text)
    except Wrong:
        return
    assert network.typed(typed) == typed
    found = network.read(typed)
    for one in (*found.outside, *(inside.address for inside in found.inside)):
        assert str(ipaddress.ip_interface(one)) == one
    for one in (*found.next_hops, *found.peers):
        assert str(ipaddress.ip_address(one)) == one


@given(HOSTILE)
def test_whatever_is_given_to_the_guard_nothing_but_networks_reaches_nft(text):
    try:
        typed = guard.typed(text)
    except Wrong:
        return
    assert guard.typed(typed) == typed
    for one in guard.read(typed):
        assert all(str(ipaddress.ip_network(net)) == net for net in (one.local, *one.peers))


def test_the_guard_lets_out_what_a_tunnel_carries_before_it_drops_the_rest():
    rules = guard.text("drop", guard.read("10.1.0.0/24 1400 10.2.0.0/24; fd01::/64 1400 fd02::/64")).split(
        "\n"
    )
    forward = rules[rules.index("\tchain forward {") : rules.index("\tchain output {")]

    first_drop = next(i for i, rule in enumerate(forward) if rule.endswith(" drop"))
    assert forward.index('\t\toifname "ipsec0" accept') < first_drop
    assert forward.index("\t\trt ipsec exists accept") < first_drop
    for pair in (
        "ip saddr 10.1.0.0/24 ip daddr 10.2.0.0/24 drop",
        "ip6 saddr fd01::/64 ip6 daddr fd02::/64 drop",
    ):
        assert f"\t\t{pair}" in forward


@given(st.lists(st.text("abcdef0123456789", min_size=12, max_size=12), unique=True, max_size=30))
def test_nobody_who_shares_an_address_is_reached_at_anothers_address_in_between(ids):
    others: dict[str, shared.Sharer] = {}
    for name in ids:
        wanted = Network(shared="198.51.100.1")
        others[name] = shared.Sharer(wanted, shared.transit(name, wanted, others), "ew")

    assert len({one.transit for one in others.values()}) == len(ids)
    assert all(shared.transit(n, one.network, others) == one.transit for n, one in others.items())


@given(st.text(min_size=1, max_size=48), st.lists(ADDRESSES, unique=True, max_size=10))
def test_the_ends_of_cables_are_names_that_the_kernel_takes_and_no_two_are_the_same(name, addresses):
    insides = tuple(network.Inside(f"{one}/{128 if ':' in one else 32}", "br-lan") for one in addresses)
    found = cables.ends(name, Network(outside=("203.0.113.5/24",), bridge="br-ex", inside=insides))

    names = [end for cable in found for end in (cable.host, cable.within)]
    assert len(set(names)) == len(names) == 2 * (len(addresses) + 1)
    assert all(len(end) <= 15 and end.isalnum() and end.isascii() for end in names)
