"""Certificates as they are ordered, stored, sent to nodes and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from edgeward.secret import Secret

ORDERED: Final = "ordered"
"""The source of certificates that other authorities issued to us."""
IMPORTED: Final = "imported"
"""The source of certificates that another program obtained, and that are renewed here."""


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key, as stored and as sent to nodes.

    ``name`` is the canonical name it is looked up by (exact or ``*.suffix``); ``chain`` is PEM, leaf
    first, without the root; ``key`` is PKCS#8 PEM. Times are aware, in UTC.
    """

    name: str
    project: str
    issuer: str
    chain: str
    key: Secret[str]
    not_before: datetime
    not_after: datetime
    renew_at: datetime
    fingerprint: str
    """SHA-256 of the leaf's DER, lower-case hex."""
    beside: Beside | None = None
    """Its twin for visitors who know no ECDSA."""
    source: str = "issued"
    """``issued`` by ourselves, ``ordered``, ``uploaded`` or ``imported``; uploaded ones are not renewed."""
    leader: str | None = None
    """The name whose certificate this is a copy of, where several names share one."""

    def under(self, names: Sequence[str]) -> list[Certificate]:
        """Give it as it is kept for each of its names: the first leads, and is the one that is renewed."""
        first, *others = names
        copies = [replace(self, name=name, leader=first) for name in others]
        return [replace(self, name=first, leader=None), *copies]


@dataclass(frozen=True)
class Beside:
    """An RSA certificate of the same name, made and renewed together with the ECDSA one."""

    chain: str
    key: Secret[str]
    fingerprint: str


@dataclass(frozen=True)
class Order:
    """A certificate to be issued for one canonical name; ``lifetime`` is in seconds."""

    name: str
    project: str
    issuer: str
    lifetime: float
    beside: bool = False
    """With an RSA twin."""
    also: tuple[str, ...] = ()
    """More names that it bears."""
    queued: bool = False
    """From an authority that is not ours: it takes its time."""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.also)


@dataclass(frozen=True)
class Kept:
    """A certificate as the store holds it."""

    certificate: Certificate
    revision: int
    placed: int = field(default=0, compare=False)
    """The revision at which it, or which nodes may have it, last changed."""


@dataclass(frozen=True)
class Summary:
    """A certificate without its key, for people. Times are Unix seconds."""

    name: str
    project: str
    issuer: str
    chain: str
    fingerprint: str
    not_before: float
    not_after: float
    renew_at: float
    revision: int
    source: str = "issued"
    leader: str | None = None
    withheld: bool = False
    """Whether its name is deactivated: nobody is served with it."""


@dataclass(frozen=True)
class Standing:
    """What a name has: enough to see whether its domain wants another certificate."""

    project: str
    issuer: str
    source: str
    leader: str | None
    fingerprint: str


@dataclass(frozen=True)
class Wanted:
    """Which certificates are asked for; None means any. ``name`` may end in ``*``."""

    project: str | None = None
    issuer: str | None = None
    name: str | None = None
    ends_before: float | None = None
    since: int | None = None
    """Only what changed after this revision."""
