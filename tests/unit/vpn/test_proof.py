"""A certificate in place of a secret, and who the peer's must come from."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from edgeward.errors import Invalid
from edgeward.parsing import parse
from edgeward.vpn.proof import LOCAL, Proof
from tests.pairs import authority, unreadable


def test_a_peers_authority_is_our_own_where_none_is_said_or_local():
    assert parse(Proof, {"name": "vpn.example.com"}).authority == LOCAL
    assert parse(Proof, {"name": "vpn.example.com", "authority": "local"}).authority == LOCAL


def test_a_peers_authority_is_taken_as_pem():
    text = authority("Berlin").certificate.public_bytes(Encoding.PEM).decode()

    assert parse(Proof, {"name": "vpn.example.com", "authority": text}).authority == text


@pytest.mark.parametrize(
    "text", ["", "berlin", "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_authority_is_refused_with_what_to_write(text):
    with pytest.raises(Invalid, match=r"write local, or give PEM of the authorities as \{file: PATH\}"):
        parse(Proof, {"name": "vpn.example.com", "authority": text})


def test_an_authority_whose_name_cannot_be_read_is_refused():
    with pytest.raises(Invalid, match="the name of an authority is not readable"):
        parse(Proof, {"name": "vpn.example.com", "authority": unreadable("Berlin")})
