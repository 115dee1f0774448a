"""What a change would do to live tunnels is told for each it touches, and how many it does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeward.secret import Secret
from edgeward.vpn.desired import Connection, Gateway, Ipsec, Proposal, Psk
from edgeward.vpn.effect import effect
from edgeward.vpn.foresight import foreseen, summary
from tests.unit.vpn.values import CONNECTIONS, connection, gateway

ESP = Ipsec(proposals=(Proposal(encryption="aes-128", integrity="sha256", groups=("group14",)),))


def some(number: int) -> list[Connection]:
    return [
        connection(f"00000000-0000-4000-8000-{n:012}", name=f"default/s{n}", peer_address=f"198.51.100.{n}")
        for n in range(1, number + 1)
    ]


def told(before: list[Gateway], after: list[Gateway]) -> tuple[dict[str, str], str]:
    found, untouched = foreseen(before, after)
    return {one.name: one.sentence for one in found}, summary(found, untouched)


def test_one_of_a_hundred_that_gets_another_proposal():
    before = some(100)
    after = [before[0].model_copy(update={"ipsec": ESP}), *before[1:]]
    assert told([gateway(*before)], [gateway(*after)]) == (
        {"default/s1": "re-initiates 1 CHILD_SA, within a packet's time"},
        "re-initiates 1 CHILD_SA, 99 others untouched",
    )


def test_new_ones_gone_ones_and_new_secrets():
    first, second, third = some(3)
    other = second.model_copy(update={"auth": Psk(secret=Secret("another"))})
    assert told([gateway(first, second)], [gateway(other, third)]) == (
        {
            "default/s1": "ends: its tunnel goes down",
            "default/s2": "authenticates anew, its traffic goes on",
            "default/s3": "comes up",
        },
        "authenticates 1 anew, brings up 1, ends 1, 0 others untouched",
    )


def test_who_shares_the_ike_sa_of_one_that_changes_is_told_too():
    first = connection()
    second = connection(
        "00000000-0000-4000-8000-000000000002", name="default/rome", peer_networks=("10.9.0.0/24",)
    )
    third = connection(
        "00000000-0000-4000-8000-000000000003", name="default/paris", peer_address="198.51.100.3"
    )
    ike = first.ike.model_copy(update={"lifetime": 7200})
    after = [first.model_copy(update={"ike": ike}), second.model_copy(update={"ike": ike}), third]
    anew = [after[0], second, third]
    found, untouched = foreseen([gateway(first, second, third)], [gateway(*anew)])
    assert {one.name: (one.what, one.effect) for one in found} == {
        "default/berlin": ("changed", "ike"),
        "default/rome": ("beside", "ike"),
    }
    assert untouched == 1
    assert summary(found, untouched) == "re-initiates 2 IKE_SAs with their CHILD_SAs, 1 other untouched"


def test_another_driver_or_another_router_begins_everything_anew():
    one = connection()
    said, _ = told([gateway(one, driver="strongswan")], [gateway(one, driver="libreswan")])
    assert "its gateway has another driver" in said["default/berlin"]
    said, _ = told([gateway(one)], [gateway(one, id="00000000000b")])
    assert "it moves to another gateway" in said["default/berlin"]


def test_nothing_is_told_where_nothing_changes():
    assert told([gateway(*some(3))], [gateway(*some(3))]) == ({}, "no tunnel is touched")


@given(
    st.lists(CONNECTIONS, max_size=4, unique_by=lambda c: c.id),
    st.lists(CONNECTIONS, max_size=4, unique_by=lambda c: c.id),
)
def test_every_connection_is_told_of_once_or_untouched(before, after):
    found, untouched = foreseen([gateway(*before)], [gateway(*after)])
    told_of = [one.connection for one in found]
    assert len(set(told_of)) == len(told_of)
    assert len(told_of) + untouched == len({c.id for c in before} | {c.id for c in after})
    then = {c.id: c for c in after}
    for old in before:
        if old.id in then and old.id not in told_of:
            assert effect(old, then[old.id]) == "none"
