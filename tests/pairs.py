"""Certificates with keys as people bring them: from authorities made here, good and bad ones."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Made:
    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return key_pem(self.key)


def key_pem(key: Any, password: bytes | None = None, old: bool = False) -> str:
    kind = serialization.PrivateFormat.TraditionalOpenSSL if old else serialization.PrivateFormat.PKCS8
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, hidden).decode()


def make(
    names: Sequence[str],
    by: Made | None = None,
    *,
    days: float = 90,
    start: datetime | None = None,
    key: Any = None,
    ca: bool = False,
    common: str | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    algorithm: Any = None,
) -> Made:
    """Make a certificate for these names, signed by another one, or by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    start = start or datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common or (names[0] if names else "x"))])
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
    for extension in extensions:
        builder = builder.add_extension(extension, False)
    signer = by.key if by else key
    return Made(builder.sign(signer, algorithm or hashes.SHA256()), key)


def authority(common: str, by: Made | None = None, **rest: Any) -> Made:
    return make([], by, ca=True, common=common, days=3650, **rest)


SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])


def unreadable(common: str) -> str:
    """Give PEM of an authority whose name is no text: it is well formed, and read only where one looks."""
    made = authority(common).certificate.public_bytes(serialization.Encoding.DER)
    broken = made.replace(common.encode(), b"\xff" * len(common))
    return ssl.DER_cert_to_PEM_cert(broken)
