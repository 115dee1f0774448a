"""How far the work on orders is: what waits, how fast it goes, and when all of it will have been done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates.model import ORDERED, AcmeIssuer, Issuer
from edgeward.database.schema import certificates, issuances, orders, pauses

_LATELY: Final = 600.0
_SECONDS_EACH: Final = 10.0
"""How long an order takes, where none was seen lately."""
_BEGIN_WITHIN: Final = 30.0
"""An order that may begin is begun within so many seconds, or something keeps it from that."""
_STATES: Final = ("waiting", "working", "failed")
_MOST_PAUSES: Final = 100


@dataclass(frozen=True)
class Pause:
    """What an authority refused (429), until when."""

    scope: str
    key: str
    until: float
    reason: str


@dataclass(frozen=True)
class Progress:
    """``counts`` by state, ``reasons`` by reason; ``lately``: issued in the last ten minutes.

    ``finish``: when all that waits will have been tried (Unix seconds); None where nothing waits, or where
    what might begin does not.
    """

    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    due: int
    """Certificates whose renewal is due and not queued yet."""
    lately: int
    finish: float | None
    pauses: tuple[Pause, ...]


@dataclass(frozen=True)
class Waiting:
    """What waits for one issuer: how many, and when the last of them may begin."""

    number: int
    last: float
    issued: int
    """Certificates it issued within the window of its limit of orders."""
    working: int = 1
    first: float = float("inf")
    """Since when the first of them may begin."""


async def progress(
    connection: AsyncConnection,
    issuer: Callable[[str, str], Issuer | None],
    now: float,
    project: str | None = None,
    *,
    whole: bool = True,
) -> Progress:
    """Look at all there is, or at one project's; ``whole``: with what authorities paused."""
    states = dict.fromkeys(_STATES, 0)
    reasons: dict[str, int] = {}
    for (reason, state), number in (await counts(connection, project)).items():
        states[state] += number
        reasons[reason] = reasons.get(reason, 0) + number
    lately = await _issued(connection, now - _LATELY, project)
    return Progress(
        counts=states,
        reasons=reasons,
        due=await _due(connection, now, project),
        lately=lately,
        finish=await _finish(connection, issuer, now, project, lately),
        pauses=await _pauses(connection, now) if whole else (),
    )


def finish(waiting: Waiting, acme: AcmeIssuer | None, rate: float, now: float) -> float | None:
    """Give when what waits for one issuer will have been tried, at ``rate`` orders a second.

    None where orders might begin and none does: the issuer is paused, has no account, or nobody works.
    """
    end = max(waiting.last, now + waiting.number / rate)
    limit = acme.limits.orders if acme is not None else None
    is_spent = limit is not None and waiting.issued >= limit.most
    if not waiting.working and waiting.first < now - _BEGIN_WITHIN and not is_spent:
        return None
    if limit is None:
        return end
    beyond = waiting.number - max(limit.most - waiting.issued, 0)
    return max(end, now + ceil(beyond / limit.most) * limit.seconds) if beyond > 0 else end


async def _finish(
    connection: AsyncConnection,
    issuer: Callable[[str, str], Issuer | None],
    now: float,
    project: str | None,
    lately: int,
) -> float | None:
    working = func.sum(case((orders.c.state == "working", 1), else_=0))
    query = select(
        orders.c.project,
        orders.c.issuer,
        func.count(),
        func.max(orders.c.due),
        func.min(orders.c.due),
        working,
    )
    query = query.where(orders.c.state != "failed").group_by(orders.c.project, orders.c.issuer)
    if project is not None:
        query = query.where(orders.c.project == project)
    ends = []
    for whose, name, number, last, first, busy in await connection.execute(query):
        found = issuer(whose, name)
        acme = found.acme if found is not None else None
        window = acme.limits.orders.seconds if acme is not None and acme.limits.orders is not None else 0.0
        issued = await _issued(connection, now - window, whose, name) if window else 0
        rate = max(lately / _LATELY, (acme.parallel if acme is not None else 1) / _SECONDS_EACH)
        end = finish(Waiting(number, max(last, now), issued, int(busy), first), acme, rate, now)
        if end is None:
            return None
        ends.append(end)
    return max(ends, default=None)


async def _issued(
    connection: AsyncConnection, since: float, project: str | None = None, issuer: str | None = None
) -> int:
    query = select(func.count()).where(issuances.c.at > since, issuances.c.outcome == "issued")
    if project is not None:
        query = query.where(issuances.c.project == project)
    if issuer is not None:
        query = query.where(issuances.c.issuer == issuer)
    return int((await connection.execute(query)).scalar_one())


async def _due(connection: AsyncConnection, now: float, project: str | None) -> int:
    own = certificates.c
    query = select(func.count()).where(own.source == ORDERED, own.renew_at <= now, own.leader.is_(None))
    query = query.where(~select(orders.c.name).where(orders.c.name == own.name).exists())
    if project is not None:
        query = query.where(own.project == project)
    return int((await connection.execute(query)).scalar_one())


async def _pauses(connection: AsyncConnection, now: float) -> tuple[Pause, ...]:
    own = pauses.c
    query = select(own.scope, own.key, own.until, own.reason).where(own.until > now)
    rows = await connection.execute(query.order_by(own.until.desc()).limit(_MOST_PAUSES))
    return tuple(Pause(*row) for row in rows)


async def counts(connection: AsyncConnection, project: str | None = None) -> dict[tuple[str, str], int]:
    """Count by reason and state."""
    query = select(orders.c.reason, orders.c.state, func.count()).group_by(orders.c.reason, orders.c.state)
    if project is not None:
        query = query.where(orders.c.project == project)
    return {(row[0], row[1]): int(row[2]) for row in await connection.execute(query)}


@dataclass(frozen=True)
class Troubled:
    """Orders whose last attempt failed, or that cannot begin: how many, and the first of them."""

    number: int
    name: str
    problem: str


async def troubled(connection: AsyncConnection, project: str | None = None) -> Troubled | None:
    """Give what does not get on; None where all does. Names that strangers chose do not count."""
    own = (orders.c.problem.is_not(None), orders.c.reason != "visitor")
    mine = own if project is None else (*own, orders.c.project == project)
    number = int(
        (await connection.execute(select(func.count()).select_from(orders).where(*mine))).scalar_one()
    )
    if not number:
        return None
    first = select(orders.c.name, orders.c.problem).where(*mine).order_by(orders.c.expires, orders.c.name)
    row = (await connection.execute(first.limit(1))).one()
    return Troubled(number, row.name, row.problem)
