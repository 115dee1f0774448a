"""The lines are strongSwan 5.9.8's own, as it wrote them between two daemons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.vpn.drivers.strongswan.reasons import Finding, Reader, kept, told
from tests.integration.vpn_drivers import connection

SELECTED = "selected proposal: IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256"
OFFERED = "received proposals: IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256"
TAKEN = "configured proposals: IKE:AES_CBC_256/HMAC_SHA2_512_256/PRF_HMAC_SHA2_512/ECP_384"
LOOKING = "looking for peer configs matching 198.51.2.2[198.51.2.2]...198.51.1.2[moon[1]]"


def read(*lines, name="c", number="1"):
    reader = Reader()
    found = [reader.read(number, name, line, 100.0) for line in lines]
    return [one for one in found if one is not None][-1]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["tried 1 shared key for 'a' - 'b', but MAC mismatched"], "the pre-shared keys differ"),
        (["received AUTHENTICATION_FAILED notify error"], "the pre-shared keys differ, or it does not know us as"),
        (["received NO_PROPOSAL_CHOSEN notify error"], "we offered aes128-sha256-ecp256"),
        (["received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built"], "refused our proposals for ESP: we offered aes128"),
        ([OFFERED, TAKEN], "the peer offered IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256, and we take"),
        (["received TS_UNACCEPTABLE notify, no CHILD_SA built"], "we offered 10.1.0.0/24 here, 10.2.0.0/24 there"),
        (
            ["traffic selectors 10.1.0.0/24 === 10.9.0.0/24 unacceptable"],
            "the peer asked for 10.1.0.0/24 here and 10.9.0.0/24 there",
        ),
        (
            ["no matching CHILD_SA config found for 10.9.0.0/24 === 10.1.0.0/24"],
            "the peer asked for 10.1.0.0/24 here and 10.9.0.0/24 there",
        ),
        (["received IDr moon, but require sun"], "the peer says it is 'moon'"),
        (["no trusted RSA public key found for 'CN=moon'"], "comes from no authority that is trusted here"),
        (["retransmit 1 of request with message ID 0"], "no answer from 198.51.2.2 for 5 s: UDP 500/4500 blocked?"),
        (["giving up after 3 retransmits"], "no answer from 198.51.2.2"),
        (["ignore malformed INFORMATIONAL request"], "the pre-shared keys differ"),
    ],
)  # fmt: skip
def test_what_charon_writes_is_told_as_a_sentence_with_a_remedy(lines, reason):
    found = read(*lines)
    sentence, remedy = told(found, connection(), 107.0)

    assert found.who == "c"
    assert reason in sentence
    assert remedy


def test_of_a_peer_that_charon_cannot_name_the_address_is_known():
    began = "198.51.1.2 is initiating an IKE_SA"

    assert read(began, OFFERED, TAKEN, name="(unnamed)").who == "198.51.1.2"
    found = read(began, SELECTED, LOOKING, "no matching peer config found", name="(unnamed)")
    assert found.who == "198.51.1.2"
    assert "says it is 'moon[1]'" in told(found, connection(), 100.0)[0]
    found = read(
        "no IKE config found for 198.51.2.2...198.51.1.2, sending NO_PROPOSAL_CHOSEN", name="(unnamed)"
    )
    assert found.who == "198.51.1.2"
    assert "IKEv2" in told(found, connection(), 100.0)[0]


@pytest.mark.parametrize(
    ("looking", "reason"),
    [
        (
            "looking for peer configs matching 198.51.2.2[sun]...198.51.1.2[there-1.example]",
            "the peer asks for 'sun', and here 'here-1.example' is declared",
        ),
        (
            "looking for peer configs matching 198.51.2.2[%any]...198.51.1.2[moon]",
            "the peer says it is 'moon', and 'there-1.example' is declared",
        ),
        (
            "looking for pre-shared key peer configs matching 198.51.2.2...198.51.1.2[moon]",
            "the peer says it is 'moon', and 'there-1.example' is declared",
        ),
        ("parsed IKE_AUTH request", "the peer does not say that it is 'there-1.example', which is declared"),
    ],
)
def test_which_of_both_ids_differs_is_said(looking, reason):
    began = "198.51.1.2 is initiating an IKE_SA"
    found = read(began, looking, "no matching peer config found", name="(unnamed)")

    assert (found.who, told(found, connection(), 100.0)[0]) == ("198.51.1.2", reason)


def test_what_is_said_when_all_is_well_is_no_reason():
    reader = Reader()
    for line in (
        SELECTED, LOOKING, "initiating IKE_SA c[1] to 198.51.2.2", "remote host is behind NAT",
        "authentication of '198.51.2.2' with pre-shared key successful", "scheduling rekeying in 13356s",
        "CHILD_SA c{1} established with SPIs 975b6dca_i fe7388c2_o and TS 10.1.0.0/24 === 10.2.0.0/24",
    ):  # fmt: skip
        assert reader.read("1", "c", line, 0.0) is None


def test_silence_counts_from_its_beginning_and_does_not_hide_a_refusal():
    first, later = Finding("c", "silent", (), 10.0), Finding("c", "silent", (), 20.0)
    refused, much_later = Finding("c", "secret", (), 15.0), Finding("c", "silent", (), 100.0)

    assert kept(None, first) is first
    assert kept(first, later) is first
    assert kept(first, refused) is refused
    assert kept(refused, later) is refused
    assert kept(refused, much_later) is much_later


@given(
    st.lists(
        st.text(max_size=80) | st.sampled_from([OFFERED, TAKEN, LOOKING, "no matching peer config found"])
    )
)
def test_any_line_is_read_and_whatever_is_found_can_be_told(lines):
    reader = Reader()
    for index, line in enumerate(lines):
        found = reader.read(str(index % 2), "c", line, float(index))
        if found is not None:
            assert all(told(found, connection(), 1000.0))
