"""Certificates as Envoy's secrets: serialized once, named at each handshake, versioned by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from edgeward.xds import messages
from edgeward.xds.resource import Resource
from edgeward.xds.wire import part


@dataclass(frozen=True, slots=True)
class Kept:
    """A certificate as the node keeps it; ``tls`` is Envoy's TlsCertificate, key included.

    ``name`` is what it is looked up by, exact or ``*.suffix``; ``not_after`` is in Unix seconds;
    ``digest`` is the hash of ``tls``, so that a version can be told without opening a sealed record.
    """

    name: str
    project: str
    revision: int
    not_after: float
    fingerprint: str
    digest: str
    tls: bytes

    def __repr__(self) -> str:
        return f"Kept({self.name!r}, fingerprint={self.fingerprint!r})"


def tls_certificate(chain: str, key: str) -> bytes:
    """Give Envoy's TlsCertificate for a PEM chain and its PEM key."""
    message = messages.TlsCertificate(
        certificate_chain=messages.DataSource(inline_bytes=chain.encode()),
        private_key=messages.DataSource(inline_bytes=key.encode()),
    )
    serialized: bytes = message.SerializeToString(deterministic=True)
    return serialized


def ticket_keys(keys: Iterable[bytes]) -> bytes:
    """Give Envoy's TlsSessionTicketKeys; the first seals, all open."""
    message = messages.TlsSessionTicketKeys(keys=[messages.DataSource(inline_bytes=key) for key in keys])
    serialized: bytes = message.SerializeToString(deterministic=True)
    return serialized


def beside(name: str, what: str) -> str:
    """Give what a record is kept under that goes with a name's certificate; no domain name has a slash."""
    return f"{name}/{what}"


def kept(name: str, project: str, revision: int, not_after: float, fingerprint: str, tls: bytes) -> Kept:
    """Give a certificate as the node keeps it, its digest included."""
    digest = hashlib.sha256(tls).hexdigest()[:32]
    return Kept(name, project, revision, not_after, fingerprint, digest, tls)


def secret(asked: str, kept: Kept) -> Resource:
    """Give the secret under the name Envoy asked for; field numbers as in tls/v3/secret.proto."""
    body = part(1, asked.encode()) + part(2, kept.tls)
    return Resource(
        messages.SECRET, asked, body, version(asked, kept.digest), f"certificates/{kept.project}/{kept.name}"
    )


def version(asked: str, digest: str) -> str:
    """Give a secret's version; a restarted node finds the same, and sends nothing anew."""
    return hashlib.sha256(f"{digest} {asked}".encode()).hexdigest()[:24]
