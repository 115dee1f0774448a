"""X.509 as this installation's own authority writes it: roots, intermediates and leaves (RFC 5280).

ECDSA on P-256, and RSA leaves beside it where wanted. Every
instant is an argument; only keys and serial numbers are random.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeward.certificates.x509 import LeafKey, fingerprint, instant, key_pem, pem

DAY: Final = 86400.0
ROOT_LIFE: Final = 3652 * DAY
INTERMEDIATE_LIFE: Final = 365 * DAY
_CLOCKS_APART: Final = timedelta(minutes=5)
_FIRST_CLOCKS_APART: Final = timedelta(days=30)
"""Authorities start earlier: a host whose clock is put back some days still trusts them."""


@dataclass(frozen=True)
class Signer:
    """A certificate that signs others, with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return pem(self.certificate)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key).encode()

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.certificate)


def new_root(now: float) -> Signer:
    """Make a root: CA without bound on the path, ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _authority_name("Root", key)
    start = instant(now) - _FIRST_CLOCKS_APART
    builder = _authority(name, name, key, key, path_length=None)
    return Signer(_signed(builder, key, start, instant(now + ROOT_LIFE)), key)


def new_intermediate(root: Signer, now: float) -> Signer:
    """Make an intermediate that signs leaves only: one year, never beyond its root's end."""
    key = ec.generate_private_key(ec.SECP256R1())
    start = max(instant(now) - _FIRST_CLOCKS_APART, root.certificate.not_valid_before_utc)
    end = min(instant(now + INTERMEDIATE_LIFE), root.certificate.not_valid_after_utc)
    name = _authority_name("Intermediate", key)
    builder = _authority(name, root.certificate.subject, key, root.key, path_length=0)
    return Signer(_signed(builder, root.key, start, end), key)


def read_signer(certificate: str, key: bytes) -> Signer:
    """Read a signer from PEM; raises ValueError where it is none or the two do not belong together."""
    read = x509.load_pem_x509_certificate(certificate.encode())
    private = serialization.load_pem_private_key(key, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is not an elliptic curve key")
    if private.public_key() != read.public_key():
        raise ValueError("the authority's key does not belong to its certificate")
    return Signer(read, private)


@dataclass(frozen=True)
class Leaf:
    """A fresh leaf: PEM of itself and of its key (PKCS#8), and what is read off it."""

    certificate: str
    key: str
    not_before: datetime
    not_after: datetime
    fingerprint: str


class LeafSigner:
    """Signs leaves with one intermediate; what all of them share is built once (one costs ~0.2 ms)."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._issuer = signer.certificate.subject
        self._authority = _authority_key(signer.key)

    def sign(
        self,
        names: Sequence[str],
        ips: Sequence[ipaddress.IPv4Address | ipaddress.IPv6Address],
        lifetime: float,
        now: float,
        key: LeafKey | None = None,
    ) -> Leaf:
        """Sign for exactly these names and addresses; ``lifetime`` seconds, at most until our own end.

        Without ``key`` a fresh one on P-256 is made.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        end = min(instant(now + lifetime), self._signer.certificate.not_valid_after_utc)
        start = max(instant(now) - _CLOCKS_APART, self._signer.certificate.not_valid_before_utc)
        subject = [*(x509.DNSName(name) for name in names), *(x509.IPAddress(ip) for ip in ips)]
        builder = (
            # The subject is empty: a common name holds 64 bytes, a domain name 253 (RFC 5280 4.1.2.6)
            x509.CertificateBuilder(subject_name=_NOBODY, issuer_name=self._issuer)
            .public_key(key.public_key())
            .add_extension(x509.SubjectAlternativeName(subject), critical=True)
            .add_extension(_NO_AUTHORITY, critical=True)
            .add_extension(_SIGNS_HANDSHAKES, critical=True)
            .add_extension(_SERVES, critical=False)
            .add_extension(self._authority, critical=False)
        )
        signed = _signed(builder, self._signer.key, start, end)
        return Leaf(pem(signed), key_pem(key), start, end, fingerprint(signed))


_NOBODY = x509.Name([])
_NO_AUTHORITY = x509.BasicConstraints(ca=False, path_length=None)
_SERVES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def _usage(*, leaf: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=leaf,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not leaf,
        crl_sign=not leaf,
        encipher_only=False,
        decipher_only=False,
    )


_SIGNS_HANDSHAKES = _usage(leaf=True)
_SIGNS_CERTIFICATES = _usage(leaf=False)


def _authority(
    name: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    path_length: int | None,
) -> x509.CertificateBuilder:
    subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder(subject_name=name, issuer_name=issuer)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_SIGNS_CERTIFICATES, critical=True)
        .add_extension(subject_key, critical=False)
        .add_extension(_authority_key(issuer_key), critical=False)
    )


def _signed(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, start: datetime, end: datetime
) -> x509.Certificate:
    serial = x509.random_serial_number()
    return (
        builder.serial_number(serial).not_valid_before(start).not_valid_after(end).sign(key, hashes.SHA256())
    )


def _authority_key(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _authority_name(role: str, key: ec.EllipticCurvePrivateKey) -> x509.Name:
    """Name an authority after its key: two roots side by side must not share a name."""
    digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:8]
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Edgeward"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Edgeward {role} {digest}"),
        ]
    )
