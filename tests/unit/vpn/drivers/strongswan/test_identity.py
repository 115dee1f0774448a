from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.errors import Invalid
from edgeward.vpn.drivers.strongswan.identity import spelled


def typed(text: str) -> tuple[str, bytes]:
    """Read it as charon does (identification_create_from_string of 5.9.8), for what we make of names."""
    kind, _, name = text.partition(":")
    return kind, bytes.fromhex(name[1:]) if name.startswith("#") else name.encode()


@pytest.mark.parametrize(
    ("identity", "wanted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("%any", "%any"),
        ("gw.example.com", "fqdn:gw.example.com"),
        ("@gw.example.com", "fqdn:gw.example.com"),
        ("admin@example.com", "rfc822:admin@example.com"),
        ("@@admin@example.com", "rfc822:admin@example.com"),
        ("@#4711", "keyid:#4711"),
        ("@#471", "fqdn:#23343731"),
        ("C=DE, O=Example, CN=gw", "C=DE, O=Example, CN=gw"),
        ("#7f", "fqdn:#233766"),
        ("{1}:#41", "fqdn:{1}:#41"),
        ("keyid:x", "fqdn:keyid:x"),
        ("203.0.113.9%eth0", "fqdn:203.0.113.9%eth0"),
        ("moon\n", "fqdn:#6d6f6f6e0a"),
        ("", "fqdn:"),
    ],
)
def test_an_id_is_of_the_type_that_people_mean(identity, wanted):
    assert spelled(identity) == wanted


@pytest.mark.parametrize("identity", ["*", "@*.example.com", "C=DE, CN=*", "*@example.com", "gw\0x"])
def test_a_pattern_and_what_others_would_cut_is_refused(identity):
    with pytest.raises(Invalid, match=r"many peers|ends there"):
        spelled(identity)


TEXT = st.text(st.characters(exclude_characters="*\0"), max_size=28)


@given(TEXT | st.text(alphabet=st.sampled_from("@#a=\ud800"), max_size=9))
def test_any_id_is_taken_as_it_is_and_for_nothing_else(identity):
    text = spelled(identity)

    assert text.isascii()
    assert text.isprintable()
    if text == identity:
        assert "=" in text or text == "%any" or ipaddress.ip_address(text)
        return
    kind, name = typed(text)
    assert kind in ("fqdn", "rfc822", "keyid")
    plain = identity.encode(errors="surrogatepass")
    assert name in (plain, plain[1:], plain[2:]) or identity.startswith("@#")


@given(st.text(st.characters(exclude_characters="*\0"), min_size=251) | st.text(alphabet="é", min_size=80))
def test_one_that_charon_would_cut_short_is_refused(identity):
    with pytest.raises(Invalid, match="shorten"):
        spelled(identity)


@given(st.text(st.characters(exclude_characters="*\0"), max_size=300))
def test_no_more_than_charon_reads_is_given(identity):
    try:
        assert len(spelled(identity)) <= 255
    except Invalid:
        assert len(identity.encode(errors="surrogatepass")) > 120
