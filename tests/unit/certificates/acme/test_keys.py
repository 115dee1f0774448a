"""What accounts sign, judged by the library that authorities' own tools are tested with."""

from __future__ import annotations

import json

import pytest
from acme.jws import JWS
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates.acme.keys import (
    Signer,
    bound,
    changing,
    new_key,
    read_key,
    signed,
    thumbprint,
    write_key,
)
from edgeward.errors import Invalid

URL = "https://ca.example/order"
EC = new_key()
RSA = read_key(
    rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
)
texts = st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=20), st.integers()), max_size=4)


@pytest.mark.parametrize("key", [EC, RSA], ids=["ecdsa", "rsa"])
@given(payload=st.none() | texts)
def test_a_signature_holds_and_says_who_where_and_what(key, payload):
    made = JWS.from_json(signed(URL, payload, Signer(key, "https://ca.example/me"), "bm9uY2U"))

    head = made.signature.combined
    assert made.verify(key.public_key())
    assert (head.url, head.kid, head.nonce) == (URL, "https://ca.example/me", b"nonce")
    assert made.payload == (b"" if payload is None else json.dumps(payload).encode())


@pytest.mark.parametrize("key", [EC, RSA], ids=["ecdsa", "rsa"])
def test_who_has_no_account_yet_shows_the_key_itself(key):
    made = JWS.from_json(signed(URL, {}, Signer(key), "bm9uY2U"))

    assert made.signature.combined.jwk == key.public_key()
    assert made.signature.combined.kid is None
    assert "d" not in json.loads(made.signature.protected)["jwk"]


def test_a_change_of_key_is_signed_by_the_key_to_be_and_names_the_old_one():
    fresh = new_key()
    made = JWS.from_json(changing(URL, Signer(EC, "https://ca.example/me"), fresh))

    assert made.verify(fresh.public_key())
    assert json.loads(made.payload) == {
        "account": "https://ca.example/me",
        "oldKey": EC.public_key().to_json(),
    }
    assert made.signature.combined.nonce is None


@pytest.mark.parametrize("key", [EC, RSA], ids=["ecdsa", "rsa"])
def test_a_key_is_read_as_it_was_written(key):
    assert thumbprint(read_key(write_key(key))) == thumbprint(key)


def test_keys_on_other_curves_are_refused():
    pem = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="P-256"):
        read_key(pem)


@pytest.mark.parametrize("text", ["c2VjcmV0", "c2VjcmV0IQ==", " c2VjcmV0IQ\n"])
def test_a_binding_takes_the_key_with_and_without_padding(text):
    assert bound(URL, EC, "kid", text)["protected"]


def test_a_binding_key_that_is_none_is_invalid_and_not_shown():
    with pytest.raises(Invalid, match="base64url") as caught:
        bound(URL, EC, "kid", "é secret")
    assert "secret" not in str(caught.value)
