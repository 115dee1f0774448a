"""A certificate with its key as somebody brings it: read, put in order, judged before anything keeps it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from edgeward.certificates.local.signing import DAY
from edgeward.certificates.x509 import LeafKey, fingerprint, instant, key_pem, pem
from edgeward.domain_name import normalise_pattern, printable, wildcard_of
from edgeward.errors import Invalid, Problem
from edgeward.secret import Secret

MOST_TEXT: Final = 256 * 1024
_MOST_CERTIFICATES: Final = 20
_SOON: Final = 30 * DAY
_CURVES: Final = ("secp256r1", "secp384r1")
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY: Final = re.compile(r"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
_MUST_STAPLE: Final = x509.TLSFeatureType.status_request
_BAD_PEM: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library says to what it cannot read, some of it only when a field is looked at."""
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True)
class Pair:
    """A chain, leaf first and without its root, and the key that belongs to it; ``names`` are canonical."""

    chain: str
    key: Secret[str]
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    fingerprint: str
    warnings: tuple[str, ...] = ()

    def bears(self, name: str) -> bool:
        """Tell whether visitors of a canonical name, or of all names of a ``*.suffix``, may be shown it."""
        return name in self.names or (not name.startswith("*.") and wildcard_of(name) in self.names)


def read(certificates: str, key: str, now: float) -> Pair:
    """Read a pair from PEM; certificates may stand in any order, and more of them than are needed.

    Raises Invalid, with ``cert`` or ``key`` as field, for what visitors could not be shown.
    """
    given = list(dict.fromkeys(_certificates(certificates)))
    private = _private_key(key)
    try:
        leaf = _leaf(given, private)
        _judge(leaf, now)
        chain = _chain(leaf, given)
        names, warnings = _names(leaf), tuple(_warnings(chain, given, now))
    except _BAD_PEM as error:
        raise _wrong("cert", f"it cannot be read: {error}") from error
    return Pair(
        chain="".join(pem(one) for one in chain),
        key=Secret(key_pem(private)),
        names=names,
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        fingerprint=fingerprint(leaf),
        warnings=warnings,
    )


def _certificates(text: str) -> Iterator[x509.Certificate]:
    found = _CERTIFICATE.findall(_bounded(text, "cert"))
    if not found:
        raise _wrong("cert", "there is no certificate in it; give PEM, with -----BEGIN CERTIFICATE-----")
    if len(found) > _MOST_CERTIFICATES:
        raise _wrong("cert", f"there are {len(found)} certificates in it; give the chain of one name only")
    for place, one in enumerate(found, 1):
        try:
            yield x509.load_pem_x509_certificate(one.encode())
        except _BAD_PEM as error:
            raise _wrong("cert", f"certificate {place} of {len(found)} cannot be read: {error}") from error


def _private_key(text: str) -> LeafKey:
    found = _KEY.search(_bounded(text, "key"))
    if found is None:
        raise _wrong("key", "there is no private key in it; give PEM, with -----BEGIN PRIVATE KEY-----")
    block = found.group(0)
    if "ENCRYPTED" in block:
        remedy = "decrypt it first, for example with: openssl pkey -in FILE -out PLAIN"
        raise _wrong(
            "key", f"it is encrypted with a passphrase, which nobody could type at a restart; {remedy}"
        )
    try:
        key = serialization.load_pem_private_key(block.encode(), password=None)
    except _BAD_PEM as error:
        raise _wrong("key", "it cannot be read as a private key; is the file whole?") from error
    if isinstance(key, rsa.RSAPrivateKey):
        if not 2048 <= key.key_size <= 8192:
            raise _wrong(
                "key", f"RSA of {key.key_size} bits is refused; make a key of 2048 to 8192, or ECDSA"
            )
    elif not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        kind = (
            key.curve.name if isinstance(key, ec.EllipticCurvePrivateKey) else type(key).__name__.strip("_")
        )
        raise _wrong("key", f"keys of the kind {kind} are not served; make one on P-256 or P-384, or RSA")
    return key


def _leaf(given: Sequence[x509.Certificate], key: LeafKey) -> x509.Certificate:
    """Give the certificate of the key; of several, as after a renewal with the same key, the longest one."""
    public = _public(key.public_key())
    ours = [one for one in given if _public_of(one) == public]
    if not ours:
        subjects = "; ".join(_called(one) for one in given[:3])
        raise _wrong(
            "key", f"it belongs to none of the certificates ({subjects}); give the key of one of them"
        )
    return max(ours, key=lambda one: one.not_valid_after_utc)


def _public_of(certificate: x509.Certificate) -> bytes | None:
    try:
        key = certificate.public_key()
    except _BAD_PEM:
        return None
    return _public(key)


def _public(key: object) -> bytes:
    if not hasattr(key, "public_bytes"):
        return b""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_bytes(serialization.Encoding.DER, form))


def _judge(leaf: x509.Certificate, now: float) -> None:
    """Raise Invalid for a certificate that visitors would refuse, or Envoy."""
    if leaf.not_valid_after_utc <= instant(now):
        raise _wrong("cert", f"it expired at {leaf.not_valid_after_utc.isoformat()}; bring one that is valid")
    if leaf.not_valid_before_utc > instant(now + 300):
        raise _wrong("cert", f"it is not valid before {leaf.not_valid_before_utc.isoformat()}; bring it then")
    if isinstance(leaf.signature_hash_algorithm, (hashes.MD5, hashes.SHA1)):
        name = leaf.signature_hash_algorithm.name.upper()
        raise _wrong(
            "cert", f"it is signed with {name}, which browsers refuse; have it issued anew with SHA-256"
        )
    usages = _extension(leaf, x509.ExtendedKeyUsage)
    if usages is not None and not {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    } & set(usages):
        raise _wrong("cert", "it is not for servers: its extended key usage lacks serverAuth")
    features = _extension(leaf, x509.TLSFeature)
    if features is not None and _MUST_STAPLE in list(features):
        raise _wrong(
            "cert", "it demands a stapled OCSP answer (must-staple), which is not served; have one without"
        )
    if not _names(leaf):
        raise _wrong(
            "cert", "it names no domain: it has no subject alternative name, and browsers ask for one"
        )


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    found = _extension(leaf, x509.SubjectAlternativeName)
    names = []
    for text in found.get_values_for_type(x509.DNSName) if found is not None else ():
        try:
            names.append(normalise_pattern(text))
        except Invalid:
            continue  # an inner name such as localhost, which is served to nobody here
    return tuple(dict.fromkeys(names))


def _chain(leaf: x509.Certificate, given: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Give the leaf, then who signed it, and so on; a root is left out, as visitors have it."""
    chain = [leaf]
    while not _signed(chain[-1], chain[-1]):
        signers = [one for one in given if one not in chain and _signed(chain[-1], one)]
        if not signers:
            break
        chain.append(max(signers, key=lambda one: one.not_valid_after_utc))
    return chain[:-1] if len(chain) > 1 and _signed(chain[-1], chain[-1]) else chain


def _signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (*_BAD_PEM, InvalidSignature):
        return False
    return True


def _warnings(
    chain: Sequence[x509.Certificate], given: Sequence[x509.Certificate], now: float
) -> Iterator[str]:
    leaf = chain[0]
    left = leaf.not_valid_after_utc.timestamp() - now
    if left < _SOON:
        yield f"it ends in {left / DAY:.0f} days; bring its successor before that: nobody renews it"
    if _signed(leaf, leaf):
        yield "it is signed by itself: visitors trust it only where somebody told them to"
    elif not any(_signed(leaf, one) for one in given):
        yield "it came without an intermediate certificate: visitors that do not know one refuse it"
    passed = next((one for one in chain[1:] if one.not_valid_after_utc <= instant(now)), None)
    if passed is not None:
        yield f"the intermediate certificate {_called(passed)} has expired"
    others = [one for one in given if one not in chain and not _signed(one, one)]
    if others:
        yield f"left out what is no part of its chain: {'; '.join(_called(one) for one in others[:3])}"


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _called(certificate: x509.Certificate) -> str:
    return printable(certificate.subject.rfc4514_string() or "without a subject")


def _bounded(text: str, field: str) -> str:
    if len(text) > MOST_TEXT:
        raise _wrong(field, f"it has over {MOST_TEXT // 1024} KB; give one certificate with its chain")
    return text


def _wrong(field: str, message: str) -> Invalid:
    return Invalid(Problem(field, message))
