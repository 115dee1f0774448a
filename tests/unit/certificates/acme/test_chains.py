"""Chains as authorities give them: read in order, without the root, and chosen by a common name."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgeward.certificates.acme.chains import ends_in, read_chain, write_chain
from edgeward.certificates.local.signing import LeafSigner, new_intermediate, new_root
from edgeward.errors import Unavailable

NOW = 1_800_000_000.0
ROOT = new_root(NOW)
SIGNER = new_intermediate(ROOT, NOW)
OTHER = new_intermediate(new_root(NOW), NOW)
KEY = ec.generate_private_key(ec.SECP256R1())
LEAF = LeafSigner(SIGNER).sign(["a.example", "*.a.example"], [], 86400.0, NOW, KEY).certificate
NAMES = ["a.example", "*.a.example"]


def read(text: str, names=NAMES, key=KEY):
    return read_chain(text.encode(), names, key.public_key())


@pytest.mark.parametrize("text", [LEAF + SIGNER.pem, LEAF + SIGNER.pem + ROOT.pem])
def test_a_chain_is_the_leaf_and_what_is_between_it_and_the_root(text):
    assert write_chain(read(text)) == LEAF + SIGNER.pem


def test_fewer_names_than_the_certificate_has_are_enough():
    assert read(LEAF + SIGNER.pem, ["a.example"])


@pytest.mark.parametrize(
    ("text", "names", "key", "reason"),
    [
        ("", NAMES, KEY, "cannot be read"),
        ("<html>", NAMES, KEY, "cannot be read"),
        (LEAF.replace("M", "!", 1), NAMES, KEY, "cannot be read"),
        (LEAF + OTHER.pem, NAMES, KEY, "out of order"),
        (SIGNER.pem + LEAF, NAMES, KEY, "another key"),
        (LEAF + SIGNER.pem, NAMES, ec.generate_private_key(ec.SECP256R1()), "another key"),
        (LEAF + SIGNER.pem, ["b.example"], KEY, "not for b.example"),
        (LEAF + SIGNER.pem * 20, NAMES, KEY, "21 certificates"),
    ],
)
def test_what_is_not_the_certificate_that_was_ordered_is_refused(text, names, key, reason):
    with pytest.raises(Unavailable, match=reason):
        read(text, names, key)


def test_a_chain_is_known_by_its_root_and_by_any_issuer_in_it():
    chain = read(LEAF + SIGNER.pem)
    root, signer = (
        c.certificate.subject.rfc4514_string().split("CN=")[1].split(",")[0] for c in (ROOT, SIGNER)
    )

    assert ends_in(chain, root)
    assert ends_in(chain, signer.upper())
    assert not ends_in(chain, "a.example")
    assert not ends_in(chain, "")
