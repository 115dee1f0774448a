"""What may be said about visitors' certificates."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import NameOID

from edgeward.certificates.model import Domain
from edgeward.errors import Invalid
from edgeward.parsing import parse
from tests.client_certificates import Authority

OURS = Authority("ours")


def domain(**said) -> Domain:
    return parse(Domain, {"name": "a.example", "client_certificates": {"ca": OURS.pem, **said}})


def test_an_authority_is_enough():
    client = domain().client_certificates
    assert client is not None
    assert client.required and client.forward == ("subject",) and client.crl is None
    assert domain().own_chain
    assert not parse(Domain, {"name": "a.example"}).own_chain


def test_several_authorities_and_lists_may_follow_each_other():
    other = Authority("other")
    lists = OURS.revoking([]) + other.revoking([])
    assert domain(ca=OURS.pem + other.pem, crl=lists).own_chain


def self_signed(key) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")])
    parsed = x509.load_pem_x509_certificate(OURS.pem.encode())
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), 1, parsed.not_valid_before_utc, parsed.not_valid_after_utc
    )
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"ca": ""}, "client_certificates.ca: is not a list of PEM certificates"),
        ({"ca": "x"}, "client_certificates.ca: is not a list of PEM certificates"),
        ({"ca": OURS.pem.replace("M", "!", 5)}, "client_certificates.ca: is not a list of PEM"),
        ({"ca": OURS.pem * 101}, "client_certificates.ca: give 1 to 100 PEM certificates"),
        ({"ca": self_signed(rsa.generate_private_key(65537, 1024))}, "RSA of 2,048 to 8,192 bits"),
        ({"ca": self_signed(ed25519.Ed25519PrivateKey.generate())}, "RSA of 2,048 to 8,192 bits"),
        ({"crl": OURS.pem}, "client_certificates.crl: give 1 to 100 PEM certificate revocation lists"),
        ({"crl": OURS.revoking([])[:-40]}, "client_certificates.crl: "),
        ({"forward": ["everything"]}, "client_certificates.forward"),
    ],
)  # fmt: skip
def test_what_envoy_could_not_use_is_refused(said, sentence):
    with pytest.raises(Invalid) as caught:
        domain(**said)
    assert any(sentence in str(problem) for problem in caught.value.problems), caught.value.problems
