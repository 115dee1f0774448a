"""What is stored, without its keys: for people, and for those who decide what is due."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates.model import UPLOADED, Summary, Wanted
from edgeward.database.parts import in_parts
from edgeward.database.schema import certificates, orders
from edgeward.domain_name import wildcard_of

_columns = certificates.c
_ECDSA: Final = _columns.algorithm == "ecdsa"
_DAY: Final = 86400.0
_RENEWED: Final = (_columns.source != UPLOADED, _columns.leader.is_(None))
"""What people brought they bring anew, and what is shared is renewed under its first name."""


async def serving(connection: AsyncConnection, name: str, now: float) -> Summary | None:
    """Give what may be shown of the certificate that serves a name: its own, else its wildcard's, as every
    tier has it. Where neither is valid, give the expired one.
    """
    names = [n for n in (name, wildcard_of(name)) if n is not None]
    rows = await connection.execute(_summaries().where(_columns.name.in_(names)))
    found = {row.name: Summary(**row._mapping) for row in rows}
    there = [found[n] for n in names if n in found]
    return next((one for one in there if one.not_after > now), next(iter(there), None))


async def listed(
    connection: AsyncConnection, wanted: Wanted, limit: int, after: str | None = None
) -> list[Summary]:
    """Give summaries in the order of names, those after ``after``."""
    query = _summaries().order_by(_columns.name).limit(limit)
    if after is not None:
        query = query.where(_columns.name > after)
    if wanted.project is not None:
        query = query.where(_columns.project == wanted.project)
    if wanted.issuer is not None:
        query = query.where(_columns.issuer == wanted.issuer)
    if wanted.ends_before is not None:
        query = query.where(_columns.not_after < wanted.ends_before)
    if wanted.since is not None:
        query = query.where(_columns.revision > wanted.since)
    if wanted.name is not None:
        query = _named(query, wanted.name)
    return [Summary(**row._mapping) for row in await connection.execute(query)]


async def sharing(connection: AsyncConnection, name: str) -> list[Summary]:
    """Give what is kept under exactly this name and under those that share its certificate, the leader first;
    expired ones too.
    """
    own = (await connection.execute(_summaries().where(_columns.name == name))).one_or_none()
    if own is None:
        return []
    first = own.leader or own.name
    query = _summaries().where((_columns.leader == first) | (_columns.name == first))
    found = [Summary(**row._mapping) for row in await connection.execute(query.order_by(_columns.name))]
    return sorted((s for s in found if s.fingerprint == own.fingerprint), key=lambda s: s.name != first)


async def renewals_due(
    connection: AsyncConnection, now: float, limit: int, source: str = "issued"
) -> list[Summary]:
    """Give certificates of a source whose renewal is due, the most urgent first; not what is ordered."""
    query = _summaries().where(_columns.source == source, _columns.renew_at <= now, *_RENEWED)
    if source != "issued":
        query = query.where(~select(orders.c.name).where(orders.c.name == _columns.name).exists())
    query = query.order_by(_columns.renew_at).limit(limit)
    return [Summary(**row._mapping) for row in await connection.execute(query)]


async def still_due(connection: AsyncConnection, names: Collection[str], now: float) -> list[Summary]:
    """Give those of some certificates that nobody renewed or postponed in the meantime."""
    query = _summaries().where(_columns.name.in_(names), _columns.renew_at <= now, *_RENEWED)
    return [Summary(**row._mapping) for row in await connection.execute(query)]


async def expired_followers(connection: AsyncConnection, leaders: Sequence[str], now: float) -> list[str]:
    """Give the names that shared the certificates of these, and have one that has expired."""
    found: list[str] = []
    for some in in_parts(leaders):
        query = select(_columns.name).where(_columns.leader.in_(some), _columns.not_after <= now, _ECDSA)
        found += (await connection.execute(query)).scalars()
    return found


async def uploads_expired(connection: AsyncConnection, now: float) -> list[str]:
    """Give the names whose certificate somebody uploaded, and that has expired."""
    query = select(_columns.name).where(_columns.source == UPLOADED, _columns.not_after <= now, _ECDSA)
    return list((await connection.execute(query)).scalars())


async def counts(connection: AsyncConnection, now: float, project: str | None = None) -> Mapping[str, int]:
    """Count certificates: ``total``, ``expired``, and those that end within ``1d``, ``7d``, ``30d``."""
    ends = _columns.not_after

    async def number(*conditions: Any) -> int:
        query = select(func.count()).select_from(certificates).where(_ECDSA, *conditions)
        if project is not None:
            query = query.where(_columns.project == project)
        return int((await connection.execute(query)).scalar_one())

    found = {"total": await number(), "expired": await number(ends <= now)}
    for days in (1, 7, 30):
        found[f"{days}d"] = await number(ends > now, ends <= now + days * _DAY)
    return found


async def holds(connection: AsyncConnection, name: str) -> bool:
    """Say whether there is a certificate that bears exactly this name, expired or not."""
    return (await connection.execute(select(_columns.name).where(_columns.name == name))).first() is not None


async def count_below(connection: AsyncConnection, wildcard: str) -> int:
    """Count the names one label below ``*.suffix`` that have a certificate, expired or not."""
    suffix = wildcard.removeprefix("*.")  # names have neither % nor _
    query = select(func.count()).where(_columns.name.like(f"%_.{suffix}"), _ECDSA)
    query = query.where(_columns.name.not_like(f"%.%.{suffix}"), _columns.name != wildcard)
    return int((await connection.execute(query)).scalar_one())


def _summaries() -> Select[Any]:
    return select(*(_columns[field] for field in Summary.__dataclass_fields__ if field != "withheld")).where(
        _ECDSA
    )


def _named(query: Select[Any], pattern: str) -> Select[Any]:
    if not pattern.endswith("*"):
        return query.where(_columns.name == pattern)
    return query.where(_columns.name.startswith(pattern[:-1], autoescape=True))
