"""What visitors of a domain must show of themselves: certificates of an authority its owner names."""

from __future__ import annotations

from typing import Annotated, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import Field

from edgeward.errors import Invalid
from edgeward.parsing import Value, checked

_MOST_PEM = 256 * 1024
_MOST_AUTHORITIES = 100
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def _authorities(text: str) -> str:
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        keys = [certificate.public_key() for certificate in found]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid("is not a list of PEM certificates with keys that can be read") from error
    if not 1 <= len(found) <= _MOST_AUTHORITIES:
        raise Invalid(f"give 1 to {_MOST_AUTHORITIES} PEM certificates")
    for key in keys:
        strong = isinstance(key, rsa.RSAPublicKey) and 2048 <= key.key_size <= 8192
        if not strong and not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)):
            raise Invalid("an authority's key is RSA of 2,048 to 8,192 bits, or EC P-256, P-384 or P-521")
    return text


def _revocations(text: str) -> str:
    begin, end = "-----BEGIN X509 CRL-----", "-----END X509 CRL-----"
    parts = [f"{begin}{part}" for part in text.split(begin)[1:]]
    try:
        for part in parts:
            x509.load_pem_x509_crl(part.encode())
    except ValueError as error:
        raise Invalid("is not a list of PEM certificate revocation lists") from error
    if not parts or len(parts) > _MOST_AUTHORITIES or text.count(end) != len(parts):
        raise Invalid(f"give 1 to {_MOST_AUTHORITIES} PEM certificate revocation lists")
    return text


Authorities = Annotated[str, Field(max_length=_MOST_PEM), checked(_authorities)]
Revocations = Annotated[str, Field(max_length=_MOST_PEM), checked(_revocations)]
Part = Literal["subject", "dns", "uri", "certificate", "chain"]


class ClientCertificates(Value):
    """Visitors show a certificate of these authorities (mTLS) before they can ask for anything.

    What is known of it goes to the backend as ``X-Forwarded-Client-Cert``, which nobody else can set.
    """

    ca: Authorities
    """PEM certificates of the authorities; or ``{file: PATH}``, ``{env: NAME}``."""
    required: bool = True
    """False lets visitors without a certificate in, and no header goes with them; a wrong one is refused."""
    forward: tuple[Part, ...] = Field(default=("subject",), max_length=5)
    """What the header says beside the certificate's SHA-256 (``Hash``)."""
    crl: Revocations | None = None
    """PEM revocation lists, one of each authority; once one is over its next update, all are refused."""
