"""When an authority suggests to renew a certificate (RFC 9773)."""

from __future__ import annotations

from typing import Final

from cryptography import x509

from edgeward.certificates.acme.answers import RenewalInfo
from edgeward.certificates.acme.keys import base64url
from edgeward.certificates.orders.fulfilment import Window
from edgeward.errors import Invalid, Unavailable

_ASK_AGAIN: Final = 6 * 3600.0
_SOONEST: Final = 60.0
_LATEST: Final = 86400.0
"""Bounds of RFC 9773, 4.3.2, to what an authority may say about when to ask again."""


def identifier(chain: str) -> str:
    """Give what a certificate is called when another one replaces it (4.1); raises Invalid."""
    try:
        leaf = x509.load_pem_x509_certificate(chain.encode())
        found = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise Invalid("the certificate does not say which key signed it") from error
    if found.value.key_identifier is None:
        raise Invalid("the certificate does not say which key signed it")
    serial = leaf.serial_number
    encoded = serial.to_bytes(serial.bit_length() // 8 + 1, "big")  # DER: a leading zero keeps it positive
    return f"{base64url(found.value.key_identifier)}.{base64url(encoded)}"


def window(info: RenewalInfo, retry_after: float | None, now: float) -> Window:
    """Give the suggestion; raises Unavailable where it makes no sense (4.2: the end is after the start)."""
    start, end = info.window.start.timestamp(), info.window.end.timestamp()
    if end <= start:
        raise Unavailable("the authority suggests to renew in a time that ends before it starts")
    wait = _ASK_AGAIN if retry_after is None else min(max(retry_after, _SOONEST), _LATEST)
    return Window(start, end, now + wait)
