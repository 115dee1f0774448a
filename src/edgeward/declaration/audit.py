"""Who changed what, when, from what to what; shown without secrets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database import schema
from edgeward.database.engine import Writing
from edgeward.declaration.model import Change, Key
from edgeward.declaration.store import json_text

MOST_ROWS: Final = 100_000
"""Of what is not part of the history of what is declared: of tokens, nodes, expirations."""
_LONGEST: Final = 64 * 1024
_ROWS_AT_ONCE: Final = 2000
_SECRET_FIELDS: Final = frozenset({"token", "secret", "password", "psk", "private_key"})


@dataclass(frozen=True)
class Entry:
    """One thing somebody did to one object; ``before`` and ``after`` are JSON data.

    ``exact`` ones are kept as they are, so that they can be undone; others are kept without secrets and
    shortened where they are long.
    """

    who: str
    source: str
    action: str
    key: Key
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    source_before: str | None = None
    exact: bool = False


def entry(change: Change, who: str, source: str) -> Entry:
    owner, before = change.source(source), change.source_before(source)
    return Entry(who, owner, _action(change), change.key, change.before, change.after, before, exact=True)


def _action(change: Change) -> str:
    return "take over" if change.taken_from and change.action == "change" else change.action


async def record(writing: Writing, made: Sequence[Entry], now: float) -> list[int]:
    """Write entries into the transaction they tell about; give how many bytes each has."""
    revision = writing.revision or 0
    sizes = []
    for start in range(0, len(made), _ROWS_AT_ONCE):  # others get their turn in between
        rows = [_row(entry, now, revision) for entry in made[start : start + _ROWS_AT_ONCE]]
        await writing.connection.execute(insert(schema.audit), rows)
        sizes += [len(row["before"] or "") + len(row["after"] or "") for row in rows]
    return sizes


async def sweep(writing: Writing, now: float, keep: float, most: int = MOST_ROWS) -> int:
    """Forget entries that are no part of the history, older than ``keep`` seconds or beyond ``most``."""
    table = schema.audit
    others = table.c.revision.not_in(select(schema.revisions.c.revision))
    newest = select(table.c.id).where(others).order_by(table.c.id.desc())
    beyond = (await writing.connection.execute(newest.offset(most).limit(1))).scalar()
    old = (table.c.at < now - keep) | (table.c.id <= (0 if beyond is None else beyond))
    return (await writing.connection.execute(delete(table).where(others, old))).rowcount


async def listed(
    connection: AsyncConnection,
    hide: Callable[[str, Any], Any] = lambda _kind, data: data,
    *,
    limit: int,
    before_id: int | None = None,
    project: str | None = None,
    source: str | None = None,
    kind: str | None = None,
    name: str | None = None,
    but: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Give entries, the newest first; ``before_id`` goes on from an earlier page. ``hide`` takes the
    declared secrets out of the values of a kind. ``but``: kinds that are left out.
    """
    table = schema.audit
    query = select(table).order_by(table.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(table.c.id < before_id)
    if but:
        query = query.where(table.c.kind.not_in(but))
    for column, wanted in (
        (table.c.project, project),
        (table.c.source, source),
        (table.c.kind, kind),
        (table.c.name, name),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    return [_shown(row, hide) for row in (await connection.execute(query)).mappings().all()]


def _shown(row: RowMapping, hide: Callable[[str, Any], Any]) -> dict[str, Any]:
    texts = {name: row[name] for name in ("before", "after")}
    data = {
        name: None if text is None else redacted(hide(row["kind"], json.loads(text)))
        for name, text in texts.items()
    }
    return {**row, **data}


def redacted(data: Any) -> Any:
    """Give JSON data with everything that is named like a secret replaced by ``****``.

    What a kind declares as secret is hidden before, see ``secrets.py``, and shows its digest.
    """
    if isinstance(data, Mapping):
        return {
            k: "****" if str(k).lower() in _SECRET_FIELDS and not _open(v) else redacted(v)
            for k, v in data.items()
        }
    return [redacted(item) for item in data] if isinstance(data, (list, tuple)) else data


def _open(value: Any) -> bool:
    """Whether there is nothing to hide in the value of a field, whatever its name."""
    return value is None or (isinstance(value, Mapping) and set(value) == {"kept"})


def _row(entry: Entry, now: float, revision: int) -> dict[str, Any]:
    return {
        "at": now,
        "who": entry.who[:200],
        "source": entry.source[:300],
        "action": entry.action,
        "kind": entry.key.kind,
        "project": entry.key.project,
        "name": entry.key.name,
        "before": _text(entry.before, entry.exact),
        "after": _text(entry.after, entry.exact),
        "revision": revision,
        "source_before": None if entry.source_before is None else entry.source_before[:300],
    }


def _text(data: Mapping[str, Any] | None, exact: bool) -> str | None:
    if data is None:
        return None
    if exact:
        return json_text(data)
    text = json_text(redacted(data))
    if len(text) <= _LONGEST:
        return text
    return json_text({"omitted_bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()})
