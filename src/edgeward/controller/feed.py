"""What a node is sent: declared objects and certificates, merged in the order of their revisions."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edgeward.certificates import store as certificates
from edgeward.certificates.model import Kept
from edgeward.certificates.store import Expiration
from edgeward.database.engine import Database
from edgeward.declaration import store
from edgeward.declaration.feed import ChangeMessage, Put, Removed
from edgeward.declaration.store import Followed, Position
from edgeward.sealing import Seal

OBJECTS_AT_ONCE: Final = 500
CERTIFICATES_AT_ONCE: Final = 200
_MESSAGE_BYTES: Final = 1 << 20
_FOR_NODES: Final = frozenset({"listen", "cache", "domains", "services", "routes", "tcp_routes"})


@dataclass
class Bundle:
    """What one revision changed, or a part of it."""

    put: list[Put] = field(default_factory=list)
    remove: list[Removed] = field(default_factory=list)
    expire: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Round:
    """One look at the database: what to send, and whether that is all there was."""

    messages: Sequence[ChangeMessage]
    revision: int
    complete: bool


class Feed:
    """Where one node is in the order of revisions; each ``round`` gives what comes next.

    A revision with more objects than are read at once is spread over rounds; its messages all say
    ``more`` but the last.
    """

    def __init__(self, database: Database, seal: Seal, since: int) -> None:
        self._database = database
        self._seal = seal
        self._objects = Position(since)
        self._certificates = since
        self._begun: int | None = None
        """The revision of which a part was sent."""

    @property
    def revision(self) -> int:
        """Everything up to here was given."""
        return self._certificates

    async def round(self) -> Round:
        """Read what comes next, in one consistent view."""
        since = self._certificates
        async with self._database.reading() as connection:
            current = (await store.store(connection)).revision
            objects = await store.changes_since(connection, self._objects, OBJECTS_AT_ONCE)
            end = await certificates.changes_end(connection, since, CERTIFICATES_AT_ONCE)
            kept = await certificates.changes_since(connection, self._seal, since, CERTIFICATES_AT_ONCE)
            orders = await certificates.expirations_since(connection, since)
        full = len(objects) == OBJECTS_AT_ONCE
        whole = min(current, current if end is None else end, objects[-1].revision - 1 if full else current)
        bundles = _bundles(objects, kept, orders)
        if self._begun is not None and self._begun <= whole:
            bundles[self._begun]  # what was begun is ended, with whatever is left of it
        messages = [m for r in sorted(bundles) if r <= whole for m in self._whole(r, bundles[r])]
        if whole == current > since and whole not in bundles:
            messages += self._whole(whole, Bundle())  # what nodes do not see has a revision, too
        self._certificates = whole
        self._objects = Position(whole)
        if full and objects[-1].revision == whole + 1:
            messages += self._part(objects, whole + 1)
        return Round(messages, whole, whole == current)

    def _whole(self, revision: int, bundle: Bundle) -> Iterator[ChangeMessage]:
        self._begun = None
        return _messages(revision, bundle, more=False)

    def _part(self, objects: Sequence[Followed], revision: int) -> Iterator[ChangeMessage]:
        part = [f for f in objects if f.revision == revision]
        self._begun = revision
        self._objects = Position(revision, part[-1].key)
        return _messages(revision, _bundles(part, (), ())[revision], more=True)


def _bundles(
    objects: Iterable[Followed], kept: Iterable[Kept], orders: Iterable[Expiration]
) -> dict[int, Bundle]:
    bundles: dict[int, Bundle] = defaultdict(Bundle)
    for followed in objects:
        key, bundle = followed.key, bundles[followed.revision]
        if key.kind not in _FOR_NODES:
            continue
        if followed.value is None:
            bundle.remove.append(Removed(kind=key.kind, project=key.project, name=key.name))
        else:
            bundle.put.append(_put(key.kind, key.project, key.name, followed.revision, followed.value))
    for one in kept:
        bundles[one.revision].put.append(_certificate(one))
    for order in orders:
        bundles[order.revision].expire.append(order.name)
    return bundles


def _certificate(kept: Kept) -> Put:
    certificate = kept.certificate
    value = {
        "chain": certificate.chain,
        "key": certificate.key.reveal(),
        "not_after": certificate.not_after.isoformat(),
        "fingerprint": certificate.fingerprint,
        "issuer": certificate.issuer,
    }
    return _put("certificates", certificate.project, certificate.name, kept.revision, value)


def _put(kind: str, project: str, name: str, revision: int, value: dict[str, Any]) -> Put:
    return Put(kind=kind, project=project, name=name, revision=revision, value=value)


def _messages(revision: int, bundle: Bundle, more: bool) -> Iterator[ChangeMessage]:
    """Give a bundle as messages of about a megabyte; only the last may go without ``more``."""
    parts = list(_parts(bundle.put)) or [()]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        yield ChangeMessage(
            revision=revision,
            put=part,
            remove=tuple(bundle.remove) if last else (),
            expire=tuple(bundle.expire) if last else (),
            more=more or not last,
        )


def _parts(puts: Sequence[Put]) -> Iterator[tuple[Put, ...]]:
    part: list[Put] = []
    size = 0
    for put in puts:
        length = len(json.dumps(put.value)) if put.kind in ("services", "routes") else 6000
        if part and size + length > _MESSAGE_BYTES:
            yield tuple(part)
            part, size = [], 0
        part.append(put)
        size += length
    if part:
        yield tuple(part)
