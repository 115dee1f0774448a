"""Certificates as an authority gave them: read, checked against what was ordered, and made ready to keep."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from edgeward.certificates.model import ORDERED, Certificate
from edgeward.certificates.orders.fulfilment import Fulfilled, Window
from edgeward.certificates.timing import renewal
from edgeward.certificates.x509 import fingerprint, instant
from edgeward.errors import Unavailable

_SOONEST: Final = 6 * 3600.0


def downloaded(
    fulfilled: Fulfilled, names: tuple[str, ...], project: str, issuer: str, now: float, spread: float
) -> Certificate:
    """Give the certificate to keep; raises Unavailable where it is not what was ordered."""
    try:
        leaf = x509.load_pem_x509_certificates(fulfilled.chain.encode())[0]
        key = serialization.load_pem_private_key(fulfilled.key.reveal().encode(), password=None)
        borne = _names(leaf)
    except (ValueError, IndexError) as error:
        raise Unavailable(f"the authority's certificate for {names[0]} cannot be read: {error}") from error
    if leaf.public_key() != key.public_key():
        raise Unavailable(f"the authority's certificate for {names[0]} is not for the key it was ordered for")
    if missing := set(names) - borne:
        raise Unavailable(f"the authority's certificate does not bear {min(missing)}")
    start, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if end <= now:
        raise Unavailable(
            f"the authority's certificate for {names[0]} has expired already; look at the clock"
        )
    return Certificate(
        name=names[0],
        project=project,
        issuer=issuer,
        chain=fulfilled.chain,
        key=fulfilled.key,
        not_before=instant(start),
        not_after=instant(end),
        renew_at=instant(renewal(now, end, spread)),
        fingerprint=fingerprint(leaf),
        source=ORDERED,
    )


def renew_within(chain: str, window: Window | None, spread: float) -> float:
    """Give when to renew a certificate by what its authority suggests, or does not."""
    leaf = x509.load_pem_x509_certificate(chain.encode())
    start, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    soonest = start + min((end - start) / 10, _SOONEST)  # one that always says "now" is not asked in a loop
    return max(renewal(start, end, spread, window), soonest)


def _names(leaf: x509.Certificate) -> set[str]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return set(found.get_values_for_type(x509.DNSName))
