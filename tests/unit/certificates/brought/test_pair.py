"""What people bring: put in order whatever order it came in, and refused with the reason where it would not do."""

from __future__ import annotations

import contextlib
import random
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.certificates.brought.pair import read
from edgeward.errors import Invalid
from tests.pairs import CLIENT, SERVER, STAPLE, authority, key_pem, make

NOW = datetime.now(UTC).timestamp()
ROOT = authority("Root")
FIRST = authority("First", ROOT)
SECOND = authority("Second", FIRST)
OTHER = authority("Other")
LEAF = make(["shop.example", "*.shop.example"], SECOND, extensions=[SERVER])
RSA = rsa.generate_private_key(65537, 2048)


@settings(max_examples=30, deadline=None)
@given(st.randoms(), st.sets(st.sampled_from([ROOT.pem, OTHER.pem])), st.booleans())
def test_the_chain_is_in_order_whatever_order_it_came_in(order, more, twice):
    given_ = [LEAF.pem, FIRST.pem, SECOND.pem, *sorted(more)] * (1 + twice)
    order.shuffle(given_)

    pair = read("\n".join(given_), LEAF.key_pem, NOW)

    assert pair.chain == LEAF.pem + SECOND.pem + FIRST.pem
    assert pair.names == ("shop.example", "*.shop.example")
    assert pair.not_after == LEAF.certificate.not_valid_after_utc
    assert "PRIVATE KEY" not in repr(pair)
    assert pair.warnings == ()


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), RSA], ids=["P-384", "RSA"])
def test_keys_of_every_form_are_read_and_kept_in_one(key):
    leaf = make(["a.example"], FIRST, key=key)
    forms = {read(leaf.pem + FIRST.pem, key_pem(key, old=old), NOW).key.reveal() for old in (False, True)}

    assert forms == {key_pem(key)}


def test_a_wildcard_bears_one_label_and_itself():
    pair = read(LEAF.pem, LEAF.key_pem, NOW)

    assert pair.bears("shop.example") and pair.bears("www.shop.example") and pair.bears("*.shop.example")
    assert not pair.bears("a.b.shop.example") and not pair.bears("*.b.shop.example")


def test_of_certificates_of_one_key_the_longest_is_meant():
    longer = make(["shop.example"], SECOND, key=LEAF.key, days=180)

    assert read(LEAF.pem + longer.pem + SECOND.pem, LEAF.key_pem, NOW).chain.startswith(longer.pem)


REFUSED = [
    ("", LEAF.key_pem, "cert: there is no certificate in it"),
    (LEAF.pem.replace("MII", "MIX"), LEAF.key_pem, "cert: certificate 1 of 1 cannot be read"),
    (LEAF.pem, "", "key: there is no private key in it"),
    (LEAF.pem, LEAF.pem, "key: there is no private key in it"),
    (LEAF.pem, key_pem(LEAF.key, b"secret"), "key: it is encrypted with a passphrase"),
    (LEAF.pem, key_pem(RSA, b"secret", old=True), "key: it is encrypted with a passphrase"),
    (LEAF.pem, LEAF.key_pem.replace("MIG", "AAA"), "key: it cannot be read as a private key"),
    (
        LEAF.pem + FIRST.pem,
        OTHER.key_pem,
        "key: it belongs to none of the certificates (CN=shop.example; CN=First)",
    ),
    (LEAF.pem, "x" * 300_000, "key: it has over 256 KB"),
    (LEAF.pem * 21, LEAF.key_pem, "cert: there are 21 certificates in it"),
]


@pytest.mark.parametrize(("cert", "key", "sentence"), REFUSED, ids=[sentence for *_, sentence in REFUSED])
def test_what_is_no_pair_is_refused_with_the_reason_and_never_shows_the_key(cert, key, sentence):
    with pytest.raises(Invalid) as error:
        read(cert, key, NOW)

    assert str(error.value).startswith(sentence)
    assert "PRIVATE" not in str(error.value).replace("BEGIN PRIVATE KEY", "")


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (rsa.generate_private_key(65537, 1024), "key: RSA of 1024 bits is refused"),
        (ed25519.Ed25519PrivateKey.generate(), "key: keys of the kind Ed25519PrivateKey are not served"),
        (ec.generate_private_key(ec.SECP521R1()), "key: keys of the kind secp521r1 are not served"),
        (dsa.generate_private_key(2048), "key: keys of the kind DSAPrivateKey are not served"),
    ],
)
def test_keys_that_visitors_could_not_use_are_refused(key, sentence):
    with pytest.raises(Invalid) as error:
        read(LEAF.pem, key_pem(key), NOW)

    assert str(error.value).startswith(sentence)


HOUR = timedelta(hours=1)
UNFIT = [
    ({"days": 1, "start": datetime.now(UTC) - 2 * 24 * HOUR}, "it expired at "),
    ({"start": datetime.now(UTC) + HOUR}, "it is not valid before "),
    ({"extensions": [CLIENT]}, "it is not for servers"),
    ({"extensions": [STAPLE]}, "it demands a stapled OCSP answer"),
]


@pytest.mark.parametrize(("how", "sentence"), UNFIT, ids=[sentence for _, sentence in UNFIT])
def test_certificates_that_visitors_or_envoy_would_refuse_are_refused(how, sentence):
    leaf = make(["a.example"], FIRST, **how)
    with pytest.raises(Invalid) as error:
        read(leaf.pem, leaf.key_pem, NOW)

    assert str(error.value).startswith(f"cert: {sentence}")


def test_a_certificate_that_names_no_domain_is_refused():
    leaf = make([], FIRST, common="a.example")
    with pytest.raises(Invalid, match="it names no domain"):
        read(leaf.pem, leaf.key_pem, NOW)


def test_what_may_become_a_problem_is_warned_of():
    soon = make(["a.example"], FIRST, days=9)
    alone = make(["a.example"])
    assert read(soon.pem + FIRST.pem, soon.key_pem, NOW).warnings == (
        "it ends in 9 days; bring its successor before that: nobody renews it",
    )
    assert "signed by itself" in read(alone.pem, alone.key_pem, NOW).warnings[0]
    assert "without an intermediate" in read(LEAF.pem, LEAF.key_pem, NOW).warnings[0]
    mixed = read(LEAF.pem + SECOND.pem + FIRST.pem + soon.pem, LEAF.key_pem, NOW)
    assert mixed.warnings == ("left out what is no part of its chain: CN=a.example",)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 2**32))
def test_garbage_is_refused_as_invalid_and_as_nothing_else(garbage, seed):
    chance = random.Random(seed)
    text = LEAF.pem + SECOND.pem
    cut = chance.randrange(len(text))
    with pytest.raises(Invalid):
        read(garbage.decode("latin-1"), LEAF.key_pem, NOW)
    with pytest.raises(Invalid):
        read(text, garbage.decode("latin-1"), NOW)
    with contextlib.suppress(Invalid):
        read(text[:cut] + chr(chance.randrange(32, 127)) + text[cut + 1 :], LEAF.key_pem, NOW)
