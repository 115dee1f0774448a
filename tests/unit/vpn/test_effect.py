from __future__ import annotations

import pytest
from hypothesis import given

from edgeward.secret import Secret
from edgeward.vpn.desired import Certificate, Dpd, Ike, Ipsec, Proposal, Psk
from edgeward.vpn.effect import effect
from tests.unit.vpn.values import CONNECTIONS, connection

OTHER = (Proposal(encryption="aes-128", integrity="sha256", groups=("group14",)),)
BEFORE = connection(local_networks=("10.1.0.0/24", "10.1.1.0/24"))
CERTIFICATE = Certificate(chain="chain", key=Secret("key"), authority="authority")


@pytest.mark.parametrize(
    ("cost", "changes"),
    [
        ("none", {"name": "default/paris"}),
        ("none", {"initiator": False}),
        ("none", {"mtu": 1300}),
        ("none", {"local_networks": ("10.1.1.0/24", "10.1.0.0/24")}),
        ("none", {"dpd": Dpd(timeout=200)}),
        ("none", {"ike": Ike(aggressive=True, proposals=BEFORE.ike.proposals)}),
        ("secret", {"auth": Psk(secret=Secret("another"))}),
        ("child", {"ipsec": Ipsec(proposals=OTHER)}),
        ("child", {"ipsec": Ipsec(proposals=BEFORE.ipsec.proposals, lifetime=7200)}),
        ("child", {"peer_networks": ("10.9.0.0/24",)}),
        ("child", {"local_networks": ("10.1.0.0/24",)}),
        ("child", {"dpd": Dpd(action="restart")}),
        ("ike", {"ipsec": Ipsec(proposals=OTHER), "auth": Psk(secret=Secret("another"))}),
        ("ike", {"ike": Ike(proposals=OTHER)}),
        ("ike", {"ike": Ike(version=1, proposals=BEFORE.ike.proposals)}),
        ("ike", {"ike": Ike(lifetime=7200, proposals=BEFORE.ike.proposals)}),
        ("ike", {"dpd": Dpd(interval=10)}),
        ("ike", {"dpd": Dpd(action="disabled")}),
        ("ike", {"peer_address": "198.51.100.10"}),
        ("ike", {"local_id": "berlin.example"}),
        ("ike", {"enabled": False}),
        ("ike", {"auth": CERTIFICATE}),
    ],
)
def test_a_change_costs_no_more_than_what_it_touches(cost, changes):
    assert effect(BEFORE, BEFORE.model_copy(update=changes)) == cost


def test_a_renewed_certificate_is_shown_in_a_new_association():
    before = BEFORE.model_copy(update={"auth": CERTIFICATE})
    renewed = CERTIFICATE.model_copy(update={"chain": "another"})

    assert effect(before, before.model_copy(update={"auth": renewed})) == "ike"


def test_the_time_out_matters_where_the_version_knows_one():
    first = Ike(version=1, proposals=BEFORE.ike.proposals)
    before = BEFORE.model_copy(update={"ike": first})

    assert effect(before, before.model_copy(update={"dpd": Dpd(timeout=200)})) == "ike"


@given(CONNECTIONS)
def test_what_stays_as_it_is_or_is_new_costs_nothing_and_what_goes_all(one):
    assert effect(one, one.model_copy()) == "none"
    assert effect(None, one) == "none"
    assert effect(one, None) == "ike"


@given(CONNECTIONS, CONNECTIONS)
def test_a_change_back_costs_what_the_change_did(one, other):
    assert effect(one, other) == effect(other, one)
