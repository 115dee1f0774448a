"""Looks at the database on behalf of all nodes that are equally far: read once, chosen from for each node."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import expirations, tickets
from edgeward.certificates import store as certificates
from edgeward.certificates.expirations import Expiration
from edgeward.certificates.model import Certificate, Kept
from edgeward.controller.declared.state import State
from edgeward.database import schema
from edgeward.database.engine import Database
from edgeward.declaration import secrets, store
from edgeward.declaration.feed import Put, Removed
from edgeward.declaration.model import Key
from edgeward.declaration.store import Followed, Position
from edgeward.errors import Invalid
from edgeward.kinds import KINDS
from edgeward.log import logger
from edgeward.placement import EVERYWHERE, NAME, NOWHERE, Where, holds, read_labels
from edgeward.sealing import Seal
from edgeward.whereabouts import Place

OBJECTS_AT_ONCE: Final = 500
CERTIFICATES_AT_ONCE: Final = 200
_FOR_NODES: Final = frozenset({"listen", "cache", "domains", "services", "routes", "tcp_routes", "withheld"})
_REMOVED: Final = frozenset({*_FOR_NODES, "certificates"})
_SELECTING: Final = frozenset({"domains", "routes", "tcp_routes"})
_FRESH_SECONDS: Final = 0.25
_MOST_KEPT: Final = 8
_MOST_TRIES: Final = 5
_log = logger("edgeward.controller.nodes.reading")


@dataclass(frozen=True, slots=True)
class Start:
    """Where a look begins: what it gives depends on nothing else."""

    objects: Position
    certificates: int


@dataclass(frozen=True, slots=True)
class Item:
    """One object or certificate at a revision of the feed. ``put`` is None where it was deleted; ``hint`` is
    what nodes get that must know that it is served elsewhere.
    """

    revision: int
    place: Place
    removed: Removed
    put: Put | None
    hint: Put | None = None
    length: int = 0

    def for_node(self, used: bool, hidden: bool) -> Put | Removed:
        return (self.put if used else self.hint if hidden else None) or self.removed


@dataclass
class Look:
    """What one look found, in the order of revisions: whole revisions up to ``whole``, and the beginning of
    the next in ``part``. ``labels`` are those of every node, its name among them, in the same view.
    """

    current: int
    whole: int
    items: Sequence[Item]
    part: Sequence[Item]
    expirations: Sequence[Expiration]
    following: Start
    labels: Mapping[str, Mapping[str, str]]
    places: Sequence[Where] = ()
    made: dict[Any, Any] = field(default_factory=dict)
    """What was made of it for nodes that see the same."""
    at: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        wheres = {w for i in (*self.items, *self.part) for w in (i.place.used, i.place.hidden)}
        self.places = tuple(wheres - {EVERYWHERE, NOWHERE})

    def seen_by(self, labels: Mapping[str, str]) -> frozenset[Where]:
        """Give which of the places such a node is: all that matters of it here."""
        return frozenset((EVERYWHERE, *(place for place in self.places if holds(place, labels))))


class Looks:
    """Gives looks; nodes that come with the same start at the same time share one."""

    def __init__(self, database: Database, state: State, seal: Seal) -> None:
        self._database = database
        self._state = state
        self._seal = seal
        self._kept: dict[Start, asyncio.Task[Look]] = {}
        self.read = 0
        """How often the database was looked at."""

    async def look(self, start: Start) -> Look:
        """Give what comes after ``start``, with all that this process knows to be committed; raises
        Unavailable.
        """
        task = self._kept.get(start)
        if task is not None and task.done() and not await self._is_fresh(task):
            self._kept.pop(start, None)
            task = self._kept.get(start)
        if task is None:
            task = self._kept[start] = asyncio.create_task(self._look(start))
            task.add_done_callback(lambda done: self._keep(start, done))
            while len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return await asyncio.shield(task)

    def _keep(self, start: Start, task: asyncio.Task[Look]) -> None:
        """Have a look forgotten once it is old: it may hold hundreds of objects, and private keys."""
        asyncio.get_running_loop().call_later(_FRESH_SECONDS, self._forget, start, task)

    def _forget(self, start: Start, task: asyncio.Task[Look]) -> None:
        if self._kept.get(start) is task:
            del self._kept[start]

    async def _is_fresh(self, task: asyncio.Task[Look]) -> bool:
        if task.cancelled() or task.exception() is not None:
            return False
        look = task.result()
        if monotonic() - look.at > _FRESH_SECONDS:
            return False
        return not await self._database.changed_since(look.current, 0)

    async def _look(self, start: Start) -> Look:
        self.read += 1
        for attempt in range(_MOST_TRIES):
            async with self._database.reading() as connection:
                look, at = await self._seen(connection, start)
            if at <= look.current or attempt == _MOST_TRIES - 1:
                # else where things are used is known of a later moment than what was read: it would be sent
                # again when that moment comes, but a transaction must not be of two minds
                break
        return look

    async def _seen(self, connection: AsyncConnection, start: Start) -> tuple[Look, int]:
        since = start.certificates
        current = (await store.store(connection)).revision
        objects = await store.moves_since(connection, start.objects, OBJECTS_AT_ONCE)
        end = await certificates.changes_end(connection, since, CERTIFICATES_AT_ONCE)
        kept = await certificates.changes_since(connection, self._seal, since, CERTIFICATES_AT_ONCE)
        orders = await expirations.since(connection, since)
        labels = await every_label(connection)
        masters = await tickets.masters(connection, self._seal) if any(_hot(k) for k in kept) else []
        keys = [f.key for f in objects if f.key.kind in _FOR_NODES and f.value is not None]
        names = [k.certificate.name for k in kept]
        at, places, wheres = await self._state.places(connection, keys, names)
        full = len(objects) == OBJECTS_AT_ONCE
        whole = min(current, current if end is None else end, objects[-1].placed - 1 if full else current)
        told = [f for f in objects if f.key.kind in (_REMOVED if f.value is None else _FOR_NODES)]
        found = [_object(f, places.get(f.key, Place())) for f in told]
        begun = full and objects[-1].placed == whole + 1
        part = [i for i in found if i.revision == whole + 1] if begun else []
        following = Start(Position(whole + 1, objects[-1].key) if begun else Position(whole), whole)
        found += [_certificate(k, wheres[k.certificate.name], masters) for k in kept]
        items = sorted((i for i in found if i.revision <= whole), key=lambda i: i.revision)
        due = [o for o in orders if o.revision <= whole]
        return Look(current, whole, items, part, due, following, labels), at


async def labels_of(connection: AsyncConnection, node: str) -> Mapping[str, str]:
    """Give the labels of one node, its name among them; none at all where it did not join."""
    query = select(schema.nodes.c.labels).where(schema.nodes.c.name == node)
    stored = (await connection.execute(query)).scalar_one_or_none()
    return {} if stored is None else with_name(node, stored)


async def every_label(connection: AsyncConnection) -> dict[str, Mapping[str, str]]:
    """Give the labels of every node that joined, its own name among them."""
    rows = (await connection.execute(select(schema.nodes.c.name, schema.nodes.c.labels))).all()
    return {row.name: with_name(row.name, row.labels) for row in rows}


def with_name(name: str, stored: str) -> Mapping[str, str]:
    """Give a node's labels as stored with its name; ones that cannot be read count as none."""
    try:
        return {**read_labels(stored), NAME: name}
    except Invalid as error:
        _log.error("the labels of a node count as none", node=name, reason=str(error))
        return {NAME: name}


def _object(followed: Followed, place: Place) -> Item:
    key, value = followed.key, followed.value
    removed = Removed(kind=key.kind, project=key.project, name=key.name)
    if value is None:
        return Item(followed.placed, place, removed, None)
    value = secrets.without(value, KINDS[key.kind])
    if key.kind in _SELECTING:
        value = {field: v for field, v in value.items() if field != "nodes"}  # who gets it is selected
    hint = None
    if key.kind == "domains":
        elsewhere = {"name": key.name, "elsewhere": True}
        also = {"also": value["also"]} if value.get("also") else {}
        hint = _put(key, followed.revision, {**elsewhere, **also})
    length = len(json.dumps(value)) if key.kind in ("services", "routes", "tcp_routes") else 300
    return Item(followed.placed, place, removed, _put(key, followed.revision, value), hint, length)


def _hot(kept: Kept) -> bool:
    return kept.certificate.beside is not None


def certificate_value(certificate: Certificate) -> dict[str, Any]:
    """Give a certificate as nodes read it, key included, without what stands beside it."""
    return {
        "chain": certificate.chain,
        "key": certificate.key.reveal(),
        "not_after": certificate.not_after.isoformat(),
        "fingerprint": certificate.fingerprint,
        "issuer": certificate.issuer,
    }


def _certificate(kept: Kept, used: Where, masters: Sequence[bytes]) -> Item:
    certificate = kept.certificate
    value = certificate_value(certificate)
    if certificate.beside is not None:
        value["rsa"] = {"chain": certificate.beside.chain, "key": certificate.beside.key.reveal()}
        derived = tickets.derived(masters, certificate.name)
        value["ticket_keys"] = [base64.b64encode(key).decode() for key in derived]
    key = Key("certificates", certificate.project, certificate.name)
    removed = Removed(kind=key.kind, project=key.project, name=key.name)
    return Item(kept.placed, Place(used), removed, _put(key, kept.revision, value), length=6000)


def _put(key: Key, revision: int, value: dict[str, Any]) -> Put:
    return Put(kind=key.kind, project=key.project, name=key.name, revision=revision, value=value)
