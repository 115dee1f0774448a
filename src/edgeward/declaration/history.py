"""The history of what is declared: its revisions, their changes, and what was before them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database import schema
from edgeward.declaration.audit import redacted
from edgeward.declaration.model import SINGLETONS, Action, Change, Key, Kind
from edgeward.declaration.secrets import hidden_change
from edgeward.errors import NotFound

Kinds = Mapping[str, Kind]
_audit = schema.audit
_revisions = schema.revisions
SHOWN_PARTS: Final = 5
"""Of how many projects a revision names objects in a list."""


@dataclass(frozen=True)
class Sight:
    """Which part of the history is asked for. ``project`` None: all of it, that of no project included.

    Of one project, ``listen`` and ``cache`` are no part, though they are kept under ``default``.
    """

    project: str | None = None
    kind: str | None = None
    name: str | None = None
    source: str | None = None
    """Of revisions written by this source."""


@dataclass(frozen=True)
class Span:
    """How far the history reaches: any revision from ``oldest`` to ``newest`` can be gone back to."""

    oldest: int
    newest: int

    def check(self, revision: int) -> None:
        """Raise NotFound for a revision that is not there any more, or not yet."""
        if revision < self.oldest:
            raise NotFound(
                f"the history does not reach back to revision {revision} any more;"
                f" the oldest to go back to is {self.oldest}"
            )
        if revision > self.newest:
            raise NotFound(f"there is no revision {revision} yet; the newest is {self.newest}")


@dataclass(frozen=True)
class Revision:
    """One revision as far as it is asked for; ``at`` in Unix seconds.

    ``objects`` are its first (action, key); ``changes`` are those of the one object asked for.
    """

    revision: int
    at: float
    who: str
    source: str
    rolled_back_to: int | None
    created: int
    changed: int
    deleted: int
    projects: int
    objects: tuple[tuple[str, str], ...] = ()
    changes: tuple[Made, ...] = ()


@dataclass(frozen=True)
class Made:
    """One change as it was made; ``place`` puts changes in order. Secrets are hidden."""

    place: int
    revision: int
    change: Change


@dataclass(frozen=True)
class Was:
    """What an object was at some revision; ``value`` None: it was not there."""

    value: Mapping[str, Any] | None
    source: str


async def span(connection: AsyncConnection) -> Span:
    row = (await connection.execute(select(schema.counter.c.history, schema.counter.c.revision))).one()
    return Span(row.history, row.revision)


async def listed(
    connection: AsyncConnection, kinds: Kinds, sight: Sight, limit: int, before: int | None = None
) -> list[Revision]:
    """Give the newest ``limit`` revisions, those ``before`` one where it is given."""
    query = _summed(sight).order_by(_revisions.c.revision.desc()).limit(limit)
    if before is not None:
        query = query.where(_revisions.c.revision < before)
    found = [_revision(row) for row in (await connection.execute(query)).all()]
    objects = await _objects(connection, sight, [r.revision for r in found])
    found = [replace(r, objects=tuple(objects.get(r.revision, ()))) for r in found]
    if sight.kind is None or sight.name is None:
        return found
    made = await _made(connection, kinds, sight, [r.revision for r in found])
    return [replace(r, changes=tuple(m for m in made if m.revision == r.revision)) for r in found]


async def one(connection: AsyncConnection, revision: int, sight: Sight) -> Revision | None:
    query = _summed(sight).where(_revisions.c.revision == revision)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _revision(row)


async def changes(
    connection: AsyncConnection,
    kinds: Kinds,
    revision: int,
    sight: Sight,
    limit: int,
    after: int | None = None,
) -> list[Made]:
    """Give the next changes of a revision, in the order of their places."""
    query = _seen(select(_audit).where(_audit.c.revision == revision), sight)
    query = query.order_by(_audit.c.id).limit(limit)
    if after is not None:
        query = query.where(_audit.c.id > after)
    return [_shown(row, kinds) for row in (await connection.execute(query)).all()]


async def undone(
    connection: AsyncConnection, revision: int, sight: Sight, kinds: Iterable[str]
) -> dict[Key, Was]:
    """Give what everything that was changed after ``revision`` was right after it."""
    first = select(func.min(_audit.c.id)).where(_audit.c.revision > revision, _audit.c.kind.in_(list(kinds)))
    first = _seen(first, sight).group_by(_audit.c.kind, _audit.c.project, _audit.c.name)
    columns = (_audit.c.kind, _audit.c.project, _audit.c.name, _audit.c.before, _audit.c.source_before)
    rows = (await connection.execute(select(*columns).where(_audit.c.id.in_(first)))).all()
    return {
        Key(row.kind, row.project, row.name): Was(
            None if row.before is None else json.loads(row.before), row.source_before or ""
        )
        for row in rows
    }


def _summed(sight: Sight) -> Select[Any]:
    """Give revisions with what they changed of what is seen, one row each."""
    table = _revisions.c
    query: Select[Any] = select(
        table.revision,
        *(func.max(column).label(column.name) for column in (table.at, table.who, table.source)),
        func.max(table.rolled_back_to).label("rolled_back_to"),
        *(func.sum(column).label(column.name) for column in (table.created, table.changed, table.deleted)),
        func.count().label("projects"),
    )
    query = _parts(query, sight).group_by(table.revision)
    if sight.source is not None:
        query = query.where(table.source == sight.source)
    if sight.kind is not None or sight.name is not None:
        query = query.where(table.revision.in_(_seen(select(_audit.c.revision), sight)))
    return query


def _parts(query: Select[Any], sight: Sight) -> Select[Any]:
    return query if sight.project is None else query.where(_revisions.c.project == sight.project)


def _seen(query: Select[Any], sight: Sight) -> Select[Any]:
    if sight.project is not None:
        query = query.where(_audit.c.project == sight.project, _audit.c.kind.not_in(SINGLETONS))
    if sight.kind is not None:
        query = query.where(_audit.c.kind == sight.kind)
    return query if sight.name is None else query.where(_audit.c.name == sight.name)


async def _objects(
    connection: AsyncConnection, sight: Sight, revisions: Sequence[int]
) -> dict[int, list[tuple[str, str]]]:
    """Give the objects that revisions name, of their first projects."""
    table = _revisions.c
    place = func.row_number().over(partition_by=table.revision, order_by=table.project).label("place")
    ranked = _parts(select(table.revision, table.objects, place), sight)
    ranked_rows = ranked.where(table.revision.in_(revisions)).subquery()
    query = select(ranked_rows).where(ranked_rows.c.place <= SHOWN_PARTS)
    found: dict[int, list[tuple[str, str]]] = {}
    rows = await connection.execute(query.order_by(ranked_rows.c.revision, ranked_rows.c.place))
    for row in rows.all():
        found.setdefault(row.revision, []).extend((a, key) for a, key in json.loads(row.objects))
    return found


async def _made(
    connection: AsyncConnection, kinds: Kinds, sight: Sight, revisions: Sequence[int]
) -> list[Made]:
    query = _seen(select(_audit).where(_audit.c.revision.in_(revisions)), sight)
    return [_shown(row, kinds) for row in (await connection.execute(query.order_by(_audit.c.id))).all()]


def _revision(row: Row[Any]) -> Revision:
    return Revision(
        row.revision, row.at, row.who, row.source, row.rolled_back_to,
        int(row.created), int(row.changed), int(row.deleted), int(row.projects),
    )  # fmt: skip


def _shown(row: Row[Any], kinds: Kinds) -> Made:
    before, after = (None if text is None else json.loads(text) for text in (row.before, row.after))
    action: Action = "change" if row.action == "take over" else row.action
    taken = row.source_before if row.source_before not in (None, row.source) else None
    key = Key(row.kind, row.project, row.name)
    change = Change(action, key, before, after, taken, row.source)
    return Made(row.id, row.revision, without_secrets(change, kinds))


def without_secrets(change: Change, kinds: Kinds) -> Change:
    """Give a change as people may see it; where a secret was changed, that still shows."""
    change = hidden_change(change, kinds)
    after = _marked(change.before, redacted(change.after), change.after)
    return replace(change, before=redacted(change.before), after=after)


def _marked(before: Any, shown: Any, after: Any) -> Any:
    """Give ``shown``, the redacted ``after``, with a note on secrets that differ from those before."""
    if isinstance(shown, dict) and isinstance(before, Mapping):
        return {k: _marked(before.get(k), v, after[k]) for k, v in shown.items()}
    if isinstance(shown, list) and isinstance(before, list) and len(before) == len(shown):
        return [_marked(b, s, a) for b, s, a in zip(before, shown, after, strict=True)]
    return "**** (changed)" if shown == "****" and before is not None and before != after else shown
