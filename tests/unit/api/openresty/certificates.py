"""Certificates of an authority of the tests' own."""

from __future__ import annotations

from functools import cache

from edgeward.certificates.local.signing import LeafSigner, Signer, new_intermediate, new_root
from edgeward.certificates.model import Certificate
from edgeward.certificates.x509 import instant
from edgeward.secret import Secret

NOW = 1_800_000_000.0


@cache
def signer() -> Signer:
    return new_intermediate(new_root(NOW), NOW)


def made(name: str, lifetime: float = 7 * 86400.0) -> Certificate:
    """Give a new certificate, with a key of its own."""
    leaf = LeafSigner(signer()).sign([name], [], lifetime, NOW)
    return Certificate(
        name=name,
        project="default",
        issuer="local",
        chain=leaf.certificate + signer().pem,
        key=Secret(leaf.key),
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        renew_at=instant(NOW + lifetime * 2 / 3),
        fingerprint=leaf.fingerprint,
    )
