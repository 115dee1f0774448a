"""Who changed what, when, from what to what; bounded, and without secrets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database import schema
from edgeward.database.engine import Writing
from edgeward.declaration.model import Change, Key
from edgeward.declaration.store import json_text

MOST_ROWS: Final = 100_000
_LONGEST: Final = 64 * 1024
_ROWS_AT_ONCE: Final = 2000
_SECRET_FIELDS: Final = frozenset({"key", "token", "secret", "password", "psk", "private_key"})


@dataclass(frozen=True)
class Entry:
    """One thing somebody did to one object; ``before`` and ``after`` are JSON data."""

    who: str
    source: str
    action: str
    key: Key
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


def entries(changes: Sequence[Change], who: str, source: str) -> list[Entry]:
    return [Entry(who, source, _action(c), c.key, c.before, c.after) for c in changes]


def _action(change: Change) -> str:
    return "take over" if change.taken_from and change.action == "change" else change.action


async def record(writing: Writing, made: Sequence[Entry], now: float, most: int = MOST_ROWS) -> None:
    """Write entries into the transaction they tell about; keep the newest ``most`` of all."""
    if not made:
        return
    revision = writing.revision or 0
    kept = made[-most:]
    for start in range(0, len(kept), _ROWS_AT_ONCE):  # others get their turn in between
        rows = [_row(entry, now, revision) for entry in kept[start : start + _ROWS_AT_ONCE]]
        await writing.connection.execute(insert(schema.audit), rows)
    newest = (await writing.connection.execute(select(func.max(schema.audit.c.id)))).scalar_one()
    await writing.connection.execute(delete(schema.audit).where(schema.audit.c.id <= newest - most))


async def listed(
    connection: AsyncConnection,
    *,
    limit: int,
    before_id: int | None = None,
    project: str | None = None,
    source: str | None = None,
    kind: str | None = None,
    name: str | None = None,
) -> list[dict[str, Any]]:
    """Give entries, the newest first; ``before_id`` goes on from an earlier page."""
    table = schema.audit
    query = select(table).order_by(table.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(table.c.id < before_id)
    for column, wanted in (
        (table.c.project, project),
        (table.c.source, source),
        (table.c.kind, kind),
        (table.c.name, name),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    return [_shown(row) for row in (await connection.execute(query)).mappings().all()]


def _shown(row: RowMapping) -> dict[str, Any]:
    texts = {name: row[name] for name in ("before", "after")}
    return {**row, **{name: None if text is None else json.loads(text) for name, text in texts.items()}}


def redacted(data: Any) -> Any:
    """Give JSON data with everything that is named like a secret replaced by ``****``."""
    if isinstance(data, Mapping):
        return {
            k: "****" if str(k).lower() in _SECRET_FIELDS and v is not None else redacted(v)
            for k, v in data.items()
        }
    return [redacted(item) for item in data] if isinstance(data, (list, tuple)) else data


def _row(entry: Entry, now: float, revision: int) -> dict[str, Any]:
    return {
        "at": now,
        "who": entry.who[:200],
        "source": entry.source[:300],
        "action": entry.action,
        "kind": entry.key.kind,
        "project": entry.key.project,
        "name": entry.key.name,
        "before": _text(entry.before),
        "after": _text(entry.after),
        "revision": revision,
    }


def _text(data: Mapping[str, Any] | None) -> str | None:
    if data is None:
        return None
    text = json_text(redacted(data))
    if len(text) <= _LONGEST:
        return text
    return json_text({"omitted_bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()})
