"""What charon writes of a tunnel is kept for people: of those declared, within bounds, and without noise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeward.vpn.drivers.strongswan import lines
from edgeward.vpn.drivers.strongswan.lines import Lines

PEER, NAME = "203.0.113.9", "p-0123"


def ours(who):
    return who in (PEER, NAME)


def texts(kept, last=100):
    return [text for _, text in kept.newest((NAME, PEER), last)]


def test_what_is_said_before_the_peer_can_be_named_is_of_its_address():
    kept = Lines(ours)
    kept.add("1", "", "NET", f"received packet: from {PEER}[500] to 198.51.100.1[500] (240 bytes)", 1.0)
    kept.add("1", "(unnamed)", "IKE", f"{PEER} is initiating an IKE_SA", 2.0)
    kept.add("1", NAME, "CFG", "selected peer config", 3.0)

    assert [at for at, _ in kept.newest((NAME, PEER), 100)] == [1.0, 2.0, 3.0]
    assert texts(kept)[1:] == [f"[IKE] {PEER} is initiating an IKE_SA", "[CFG] selected peer config"]
    assert texts(kept, 1) == ["[CFG] selected peer config"]


def test_of_strangers_nothing_is_kept():
    kept = Lines(ours)
    kept.add("1", "", "NET", "received packet: from 192.0.2.66[500] to 198.51.100.1[500] (240 bytes)", 1.0)
    kept.add("1", "", "IKE", "192.0.2.66 is initiating an IKE_SA", 2.0)
    kept.add("2", "stranger", "IKE", "hello", 3.0)
    kept.add("", NAME, "CFG", "of no IKE_SA", 4.0)

    assert kept._of == {}


def test_empty_exchanges_by_which_peers_see_each_other_are_left_out():
    kept = Lines(ours)
    kept.add("1", NAME, "IKE", "established", 1.0)
    sent, came = (
        f"sending packet: from 198.51.100.1[4500] to {PEER}[4500] (80 bytes)",
        (f"received packet: from {PEER}[4500] to 198.51.100.1[4500] (80 bytes)"),
    )
    for group, text in (
        ("IKE", "sending DPD request"), ("ENC", "generating INFORMATIONAL request 2 [ ]"), ("NET", sent),
        ("NET", came), ("ENC", "parsed INFORMATIONAL response 2 [ ]"),
        ("NET", came), ("ENC", "parsed INFORMATIONAL request 0 [ ]"),
        ("ENC", "generating INFORMATIONAL response 0 [ ]"), ("NET", sent),
    ):  # fmt: skip
        kept.add("1", NAME, group, text, 2.0)
    kept.add("1", NAME, "NET", sent, 3.0)
    kept.add("1", NAME, "ENC", "parsed INFORMATIONAL request 1 [ D ]", 3.0)

    assert texts(kept) == [
        "[IKE] established", f"[NET] {sent}", "[ENC] parsed INFORMATIONAL request 1 [ D ]"
    ]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 9)), max_size=300))
def test_it_stays_within_its_bounds_and_the_last_line_is_always_there(said):
    kept = Lines(lambda who: True)
    before = lines._MOST
    lines._MOST = 20
    try:
        for at, (name, count) in enumerate(said):
            for _ in range(count):
                kept.add(name, name, "IKE", f"line {at}", float(at))
            assert kept.newest([name], 1) == ((float(at), f"[IKE] line {at}"),)
            assert kept._count == sum(map(len, kept._of.values()))
            assert len(kept._of) == 1 or kept._count <= 20
    finally:
        lines._MOST = before
