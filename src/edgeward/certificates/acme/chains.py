"""Reads the chains an authority gives, and chooses among several (RFC 8555, 7.4.2)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from edgeward.certificates.x509 import pem
from edgeward.errors import Unavailable

_MOST_CERTIFICATES: Final = 10
Chain = list[x509.Certificate]


def read_chain(text: bytes, names: Iterable[str], key: CertificatePublicKeyTypes) -> Chain:
    """Give a chain, leaf first, without its root; raises Unavailable where it is not the one asked for."""
    try:
        found = x509.load_pem_x509_certificates(text)
    except ValueError as error:
        raise Unavailable("the authority's certificate cannot be read") from error
    if not 1 <= len(found) <= _MOST_CERTIFICATES:
        raise Unavailable(f"the authority sent {len(found)} certificates in one chain")
    _check_leaf(found[0], set(names), key)
    for below, above in pairwise(found):
        if below.issuer != above.subject:
            raise Unavailable("the authority's chain is out of order")
    return [found[0], *(c for c in found[1:] if c.subject != c.issuer)]


def write_chain(chain: Chain) -> str:
    return "".join(pem(certificate) for certificate in chain)


def ends_in(chain: Chain, common_name: str) -> bool:
    """Whether a certificate of this common name stands above the leaf, or signed the topmost."""
    names = {_common_name(c.issuer) for c in chain} | {_common_name(c.subject) for c in chain[1:]}
    return common_name.casefold() in {name.casefold() for name in names}


def _check_leaf(leaf: x509.Certificate, names: set[str], key: CertificatePublicKeyTypes) -> None:
    if leaf.public_key() != key:
        raise Unavailable("the authority's certificate is for another key")
    try:
        subject = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise Unavailable("the authority's certificate names nobody") from error
    missing = names - {name.lower() for name in subject.get_values_for_type(x509.DNSName)}
    if missing:
        raise Unavailable(f"the authority's certificate is not for {', '.join(sorted(missing))}")


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
