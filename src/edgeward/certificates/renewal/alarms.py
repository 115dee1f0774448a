"""Tells when certificates are not renewed in time: by a webhook, in the log and in each name's history."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Row, case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import history
from edgeward.certificates.history import Happened
from edgeward.certificates.issue import Issuance
from edgeward.certificates.model import IMPORTED, ORDERED, UPLOADED, Alarms
from edgeward.certificates.orders import queue
from edgeward.certificates.orders.model import Queued
from edgeward.certificates.policy import Policy
from edgeward.certificates.timing import margins
from edgeward.database import schema
from edgeward.database.leases import Lease, Taken, held
from edgeward.errors import EdgewardError
from edgeward.log import logger

MOST: Final = 1000
"""Late certificates that are looked at: more than that is one trouble, not a thousand."""
_EVERY: Final = 60.0
_AGAIN: Final = 86400.0
_LATE: Final = "late"
_BY_PEOPLE: Final = "nobody renews what was uploaded; upload its successor"
_PUT_OFF: Final = 7 * 3600.0
_columns = schema.certificates.c
_log = logger("edgeward.certificates.renewal.alarms")


@dataclass(frozen=True)
class Late:
    """A certificate under its safety margin; ``problem``: why it was not had anew, where that is known."""

    name: str
    project: str
    issuer: str
    not_after: float
    problem: str | None = None


Tell = Callable[[Alarms, Sequence[Late]], Awaitable[None]]
"""Raises Unavailable where nobody took it."""


async def late(connection: AsyncConnection, policy: Policy, now: float) -> list[Late]:
    """Give what is under its margin and still wanted, the first to end first; MOST of them at most."""
    life = _columns.not_after - _columns.not_before
    short, of_short, of_long = margins()
    share = case((life < short, of_short), else_=of_long)
    query = select(_columns.name, _columns.project, _columns.issuer, _columns.not_after, _columns.source)
    query = query.where(
        _columns.not_after - life * share < now, _columns.leader.is_(None), _columns.algorithm == "ecdsa"
    )
    rows: list[Row[Any]] = []
    for source in ("issued", ORDERED, IMPORTED, UPLOADED):  # each as the index of renewals has it
        some = query.where(_columns.source == source)
        if source != UPLOADED:  # what is late is due, or was put off a little
            some = some.where(_columns.renew_at < now + _PUT_OFF)
        rows += await connection.execute(some.order_by(_columns.not_after).limit(MOST))
    rows = sorted(rows, key=lambda row: row.not_after)[:MOST]
    found = [
        Late(row.name, row.project, row.issuer, row.not_after, _BY_PEOPLE if row.source == UPLOADED else None)
        for row in rows
        if (policy.covering if row.source == UPLOADED else policy.wanted)(row.name) is not None
    ]
    ordered = await queue.states(connection, [one.name for one in found])
    return [_with(one, ordered.get(one.name)) for one in found]


async def run(issuance: Issuance, declared: Callable[[], Alarms], tell: Tell, lease: Lease) -> None:
    """Look every minute, until cancelled; who is late is told of once a day, again after a failure."""
    while True:
        try:
            await look(issuance, declared(), tell, lease)
        except Taken:
            raise
        except EdgewardError as error:
            _log.warning("alarms wait", reason=str(error))
        await asyncio.sleep(_EVERY)


async def look(
    issuance: Issuance, declared: Alarms, tell: Tell, lease: Lease | None = None
) -> Sequence[Late]:
    """Tell of what is late and was not told of for a day, and give it."""
    now = issuance.clock()
    async with issuance.database.reading() as connection:
        found = await late(connection, issuance.policy(), now)
        told = await _told(connection, [one.name for one in found], now - _AGAIN)
    fresh = [one for one in found if one.name not in told]
    if not fresh:
        return ()
    if declared.webhook is not None:
        await tell(declared, fresh)
    for one in fresh[:10]:
        _log.error("certificate not renewed in time", name=one.name, issuer=one.issuer, reason=one.problem)
    lines = [Happened(o.name, o.project, o.issuer, now, _LATE, problem=o.problem) for o in fresh]
    async with issuance.database.writing() as writing:
        await held(writing, lease)
        await history.record(writing, lines)
    return fresh


async def _told(connection: AsyncConnection, names: Sequence[str], since: float) -> set[str]:
    own = schema.issuances.c
    query = select(own.name).where(own.at > since, own.outcome == _LATE)
    return set((await connection.execute(query)).scalars()) & set(names)


def _with(one: Late, queued: Queued | None) -> Late:
    return one if queued is None else replace(one, problem=queued.problem)
