"""Certificates and their keys as text, and what is read off them, the same way everywhere."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import Certificate

LeafKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def pem(certificate: Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: LeafKey) -> str:
    """Give PKCS#8."""
    kind, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, none).decode()


def fingerprint(certificate: Certificate) -> str:
    """Give the SHA-256 of the certificate's DER, lower-case hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def instant(seconds: float) -> datetime:
    """Give Unix seconds as an aware time; X.509 counts in whole ones."""
    return datetime.fromtimestamp(int(seconds), UTC)
