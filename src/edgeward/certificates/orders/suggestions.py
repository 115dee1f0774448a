"""When authorities suggest to renew (RFC 9773): asked twice a day, for each certificate they issued."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Float, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates.acme.ari import identifier
from edgeward.certificates.issue import Issuance
from edgeward.certificates.model import ORDERED, Issuer
from edgeward.certificates.orders.batch import Batch
from edgeward.certificates.orders.downloaded import renew_within
from edgeward.certificates.orders.fulfilment import Fulfiller, Window
from edgeward.certificates.orders.plan import Replaced
from edgeward.certificates.problem import UNFORESEEN
from edgeward.database.engine import Writing
from edgeward.database.leases import Taken
from edgeward.database.schema import certificates
from edgeward.errors import EdgewardError, Invalid
from edgeward.log import logger

_EVERY: Final = 2.0
_AT_ONCE: Final = 16
_SECONDS: Final = 60.0
_TWICE_A_DAY: Final = 43_200.0
_SOONEST: Final = 3600.0
_NEVER_SAID: Final = 7 * 86400.0
"""An authority that makes no suggestion may learn to."""
_columns = certificates.c
_HEARD: Final = (
    update(certificates)
    .where(_columns.name == bindparam("asked"), _columns.fingerprint == bindparam("of"))
    .values(
        window_start=bindparam("start"),
        window_end=bindparam("end"),
        window_next=bindparam("next"),
        renew_at=func.coalesce(bindparam("renew", type_=Float), _columns.renew_at),
    )
)
_log = logger("edgeward.certificates.orders.suggestions")


@dataclass(frozen=True)
class Asked:
    """A certificate whose authority is asked."""

    name: str
    project: str
    issuer: str
    chain: str
    fingerprint: str
    window_start: float | None
    window_end: float | None


async def due(connection: AsyncConnection, now: float, limit: int) -> list[Asked]:
    fields = (_columns[field] for field in Asked.__dataclass_fields__)
    query = select(*fields).where(_columns.window_next <= now).order_by(_columns.window_next).limit(limit)
    return [Asked(**row._mapping) for row in await connection.execute(query)]


async def replaced(connection: AsyncConnection, names: Collection[str]) -> dict[str, Replaced]:
    """Give what orders for these names would take the place of."""
    if not names:
        return {}
    query = select(_columns.name, _columns.project, _columns.issuer, _columns.chain)
    query = query.add_columns(_columns.window_start, _columns.window_end, _columns.source)
    # by name alone: where a source is asked for, too, SQLite looks at all of that source
    rows = await connection.execute(query.where(_columns.name.in_(sorted(names))))
    return {
        row.name: Replaced(
            row.project,
            row.issuer,
            _identifier(row.chain) if row.window_start is not None else None,
            row.window_start,
            row.window_end,
        )
        for row in rows
        if row.source == ORDERED
    }


def _identifier(chain: str) -> str | None:
    try:
        return identifier(chain)
    except Invalid:
        return None


async def run(issuance: Issuance, fulfiller: Fulfiller, batch: Batch) -> None:
    """Ask what is due, until cancelled."""
    while True:
        try:
            while await ask_due(issuance, fulfiller, batch) == _AT_ONCE:
                pass
        except Taken:
            raise
        except EdgewardError as error:
            _log.warning("suggestions of when to renew wait", reason=str(error))
        await asyncio.sleep(_EVERY)


async def ask_due(issuance: Issuance, fulfiller: Fulfiller, batch: Batch) -> int:
    """Ask about some certificates, and give how many were due."""
    now = issuance.clock()
    async with issuance.database.reading() as connection:
        found = await due(connection, now, _AT_ONCE)
    if not found:
        return 0
    issuers = {(asked.project, asked.issuer): _issuer(issuance, asked) for asked in found}
    answers = await asyncio.gather(
        *(_answer(fulfiller, issuers[asked.project, asked.issuer], asked) for asked in found)
    )
    rows = [_heard(issuance, a, answer, now) for a, answer in zip(found, answers, strict=True)]
    await batch.write(_put, rows)
    return len(found)


def _issuer(issuance: Issuance, asked: Asked) -> Issuer | None:
    issuer = issuance.policy().issuer(asked.project, asked.issuer)
    return issuer if issuer is not None and issuer.acme is not None else None


async def _answer(fulfiller: Fulfiller, issuer: Issuer | None, asked: Asked) -> Window | EdgewardError | None:
    if issuer is None:
        return None
    try:
        async with asyncio.timeout(_SECONDS):
            return await fulfiller.window(issuer, asked.chain)
    except TimeoutError:
        return EdgewardError("no answer in time")
    except EdgewardError as error:
        return error
    except Exception:  # what one authority says must not stop the orders at others
        _log.exception("asking when to renew failed", name=asked.name, issuer=asked.issuer)
        return EdgewardError(UNFORESEEN)


async def _put(writing: Writing, heard: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    await writing.connection.execute(_HEARD, [row for rows in heard for row in rows])


def _heard(
    issuance: Issuance, asked: Asked, answer: Window | EdgewardError | None, now: float
) -> dict[str, Any]:
    """Give the row of what an authority said about a certificate."""
    row: dict[str, Any] = {"asked": asked.name, "of": asked.fingerprint, "renew": None}
    if isinstance(answer, EdgewardError):
        again = now + _SOONEST * (1 + issuance.spread())
        return {**row, "start": asked.window_start, "end": asked.window_end, "next": again}
    if answer is None:
        return {**row, "start": None, "end": None, "next": now + _NEVER_SAID}
    if (asked.window_start, asked.window_end) != (answer.start, answer.end):  # else one is chosen within it
        row["renew"] = renew_within(asked.chain, answer, issuance.spread())
    again = min(max(answer.ask_again, now + _SOONEST), now + _TWICE_A_DAY)
    return {**row, "start": answer.start, "end": answer.end, "next": again}
