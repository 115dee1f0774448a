"""The declared state in the database: found, listed, followed, and written a transaction at a time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database import schema
from edgeward.database.engine import Writing
from edgeward.declaration.model import Change, Key, Kind, Stored
from edgeward.errors import Unavailable
from edgeward.parsing import problems_of

_objects = schema.objects
_tombstones = schema.tombstones

KEEP_TOMBSTONES_SECONDS: Final = 7 * 86400.0
MOST_TOMBSTONES: Final = 100_000
_ROWS_AT_ONCE: Final = 2000


@dataclass(frozen=True, slots=True)
class Store:
    """Which store it is, how far it has come, and since when it can be followed."""

    identity: str
    revision: int
    floor: int


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of changes: behind everything of ``revision`` up to ``key`` (None: nothing)."""

    revision: int
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """One object as it is now, at the revision of its last change; ``value`` None: it was deleted.

    ``placed`` is the revision at which it, or which nodes use it, last changed.
    """

    revision: int
    key: Key
    value: dict[str, Any] | None
    source: str = ""
    placed: int = 0


async def store(connection: AsyncConnection) -> Store:
    row = (await connection.execute(select(schema.counter))).one()
    return Store(row.store, row.revision, row.floor)


async def declared_revision(connection: AsyncConnection) -> int:
    """Give the revision of the last change of anything declared; certificates do not move it."""
    latest = select(
        select(func.max(_objects.c.revision)).scalar_subquery(),
        select(func.max(_tombstones.c.revision))
        .where(_tombstones.c.kind != "certificates")
        .scalar_subquery(),
        select(schema.counter.c.floor).scalar_subquery(),
    )
    return max(value or 0 for value in (await connection.execute(latest)).one())


async def find(connection: AsyncConnection, key: Key, kind: Kind) -> Stored | None:
    row = (await connection.execute(select(_objects).where(_is(_objects, key)))).one_or_none()
    return None if row is None else _stored(row, kind)


async def named(connection: AsyncConnection, name: str, kind: Kind) -> Stored | None:
    """Give the object of this name in any project, of a kind whose names are unique everywhere."""
    query = select(_objects).where(_objects.c.kind == kind.name, _objects.c.name == name)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _stored(row, kind)


async def listed(
    connection: AsyncConnection,
    kind: Kind,
    *,
    project: str | None = None,
    source: str | None = None,
    name: str | None = None,
    limit: int,
    after: tuple[str, str] | None = None,
) -> list[Stored]:
    """Give up to ``limit`` objects by name, then project; a ``name`` ending in ``*`` asks for a beginning."""
    place = tuple_(_objects.c.name, _objects.c.project)
    query = select(_objects).where(_objects.c.kind == kind.name).order_by(_objects.c.name, _objects.c.project)
    query = _filtered(query, project, source)
    if name is not None and name.endswith("*"):
        query = query.where(_objects.c.name.startswith(name[:-1], autoescape=True))
    elif name is not None:
        query = query.where(_objects.c.name == name)
    if after is not None:
        query = query.where(place > tuple_(*(literal(part) for part in after)))
    return [_stored(row, kind) for row in (await connection.execute(query.limit(limit))).all()]


async def counts(connection: AsyncConnection, project: str | None = None) -> dict[str, int]:
    query = _filtered(select(_objects.c.kind, func.count()).group_by(_objects.c.kind), project, None)
    return {row[0]: row[1] for row in (await connection.execute(query)).all()}


async def changes_since(connection: AsyncConnection, position: Position, limit: int) -> list[Followed]:
    """Give the next ``limit`` changed or deleted objects behind ``position``, in the order of revisions.

    An object stands once, at its last change. Asking on from the last one given misses nothing, in
    later views too: what changes in between moves ahead of every position given out.
    """
    return await _following(connection, _objects.c.revision, position, limit)


async def moves_since(connection: AsyncConnection, position: Position, limit: int) -> list[Followed]:
    """Give the next ``limit`` objects that changed, moved to other nodes, or were deleted."""
    return await _following(connection, _objects.c.placed, position, limit)


async def _following(
    connection: AsyncConnection, clock: ColumnElement[int], position: Position, limit: int
) -> list[Followed]:
    found: list[tuple[int, Followed]] = []
    for table, at in ((_objects, clock), (_tombstones, _tombstones.c.revision)):
        order = [at, table.c.kind, table.c.project, table.c.name]
        query = select(table, at.label("at_revision")).order_by(*order).limit(limit)
        if position.key is None:
            query = query.where(at > position.revision)
        else:
            key = position.key
            place = (position.revision, key.kind, key.project, key.name)
            query = query.where(tuple_(*order) > tuple_(*(literal(part) for part in place)))
        rows = (await connection.execute(query)).all()
        found += [(row.at_revision, _followed(row, table is _objects)) for row in rows]
    ordered = sorted(found, key=lambda f: (f[0], f[1].key))[:limit]
    return [followed for _, followed in ordered]


async def write(
    writing: Writing,
    changes: Sequence[Change],
    source: str,
    now: float,
    written: Callable[[int], None] = lambda _count: None,
) -> int:
    """Carry out all changes as one revision and give it; ``written`` hears how many are done."""
    revision = await writing.next_revision()
    done = 0
    for action, statements in _STATEMENTS.items():
        some = [change for change in changes if change.action == action]
        for start in range(0, len(some), _ROWS_AT_ONCE):  # others get their turn in between
            rows = [_row(change, source, revision, now) for change in some[start : start + _ROWS_AT_ONCE]]
            for statement in statements:
                await writing.connection.execute(statement, rows)
            done += len(rows)
            written(done)
    return revision


async def move(writing: Writing, keys: Iterable[Key]) -> None:
    """Have nodes look at objects anew that did not change themselves."""
    revision = await writing.next_revision()
    rows = [
        {"k_kind": k.kind, "k_project": k.project, "k_name": k.name, "v_placed": revision}
        for k in sorted(keys)
    ]
    statement = update(_objects).where(_same(_objects)).values(_new("placed"))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        await writing.connection.execute(statement, rows[start : start + _ROWS_AT_ONCE])


async def sweep(
    writing: Writing, now: float, keep: float = KEEP_TOMBSTONES_SECONDS, most: int = MOST_TOMBSTONES
) -> int:
    """Forget deletions older than ``keep`` seconds or beyond ``most``; give how many.

    Who followed only up to before the newest forgotten one (``floor``) has to start over.
    """
    table = _tombstones
    beyond = select(table.c.revision).order_by(table.c.revision.desc()).offset(most).limit(1)
    old = select(func.max(table.c.revision)).where(table.c.at < now - keep)
    marks = [(await writing.connection.execute(query)).scalar() for query in (beyond, old)]
    mark = max((m for m in marks if m is not None), default=None)
    if mark is None:
        return 0
    swept = await writing.connection.execute(delete(table).where(table.c.revision <= mark))
    await writing.connection.execute(
        update(schema.counter).where(schema.counter.c.floor < mark).values(floor=mark)
    )
    return swept.rowcount


def json_text(data: Mapping[str, Any]) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _row(change: Change, source: str, revision: int, now: float) -> dict[str, Any]:
    key = change.key
    value = None if change.after is None else json_text(change.after)
    place = {"k_kind": key.kind, "k_project": key.project, "k_name": key.name}
    owner = change.source(source)
    written = {"v_value": value, "v_source": owner, "v_revision": revision, "v_placed": revision}
    return {**place, **written, "v_at": now}


def _same(table: Table) -> Any:
    return and_(*(table.c[name] == bindparam(f"k_{name}") for name in ("kind", "project", "name")))


def _new(*names: str) -> dict[str, Any]:
    return {name: bindparam(f"v_{name}") for name in names}


_KEY: Final[dict[str, Any]] = {name: bindparam(f"k_{name}") for name in ("kind", "project", "name")}
_STATEMENTS: Final[dict[str, tuple[Any, ...]]] = {
    "create": (
        delete(_tombstones).where(_same(_tombstones)),
        insert(_objects).values({**_KEY, **_new("value", "source", "revision", "placed")}),
    ),
    "change": (
        update(_objects).where(_same(_objects)).values(_new("value", "source", "revision", "placed")),
    ),
    "delete": (
        delete(_objects).where(_same(_objects)),
        insert(_tombstones).values({**_KEY, **_new("revision", "at")}),
    ),
}


def _is(table: Table, key: Key) -> Any:
    return (table.c.kind == key.kind) & (table.c.project == key.project) & (table.c.name == key.name)


def _filtered(query: Select[Any], project: str | None, source: str | None) -> Select[Any]:
    if project is not None:
        query = query.where(_objects.c.project == project)
    return query if source is None else query.where(_objects.c.source == source)


def _stored(row: Row[Any], kind: Kind) -> Stored:
    key = Key(row.kind, row.project, row.name)
    try:
        value = kind.model.model_validate_json(row.value)
    except ValidationError as error:  # its rules got stricter since it was stored
        reasons = "; ".join(str(problem) for problem in problems_of(error)[:3])
        raise Unavailable(f"{key} as stored is not valid any more ({reasons}); put it anew") from error
    return Stored(key, value, row.source, row.revision)


def _followed(row: Row[Any], is_object: bool) -> Followed:
    key = Key(sys.intern(row.kind), sys.intern(row.project), row.name)  # of 100,000, nearly all the same
    if not is_object:
        return Followed(row.revision, key, None, placed=row.revision)
    return Followed(row.revision, key, json.loads(row.value), sys.intern(row.source), row.placed)
