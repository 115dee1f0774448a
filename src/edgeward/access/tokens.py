"""Bearer tokens: ``ew_<id>_<secret>``, of which only the SHA-256 of the secret is kept.

The secret has 256 random bits, so a plain hash is enough: there is nothing to guess from a list.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from edgeward.secret import Secret

_TOKEN = re.compile(r"ew_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True)
class Minted:
    """A new token: what is kept (``id``, ``hash``), and what its owner gets, once (``text``)."""

    id: str
    hash: str
    text: Secret[str]


def mint() -> Minted:
    identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return Minted(identity, hash_of(secret), Secret(f"ew_{identity}_{secret}"))


def parse(text: str) -> tuple[str, Secret[str]] | None:
    """Give id and secret of what is written like a token, else None."""
    match = _TOKEN.fullmatch(text)
    return None if match is None else (match[1], Secret(match[2]))


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def fits(secret: Secret[str], kept_hash: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(hash_of(secret.reveal()), kept_hash)
