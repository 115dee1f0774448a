"""Certificates and accounts that people bring: kept under the names they are for, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import history, store, summaries
from edgeward.certificates.brought.pair import Pair
from edgeward.certificates.history import Happened
from edgeward.certificates.model import IMPORTED, UPLOADED, Certificate, Domain, Standing, Summary
from edgeward.certificates.timing import renewal
from edgeward.certificates.x509 import instant
from edgeward.database.engine import Writing
from edgeward.database.schema import accounts, orders
from edgeward.errors import Invalid, Problem
from edgeward.sealing import Seal
from edgeward.secret import Secret


@dataclass(frozen=True)
class Imported:
    """A pair that another program obtained; PEM, and not yet looked at."""

    names: tuple[str, ...]
    project: str
    issuer: str
    cert: str
    key: Secret[str]


@dataclass(frozen=True)
class Account:
    """An account at an ACME authority; the key is PEM."""

    project: str
    issuer: str
    directory: str
    url: str
    key: Secret[str]
    email: str | None


@dataclass(frozen=True)
class Brought:
    """What is served now of what somebody brought; ``changed``: it was not there before."""

    names: tuple[str, ...]
    not_after: datetime
    fingerprint: str
    warnings: tuple[str, ...] = ()
    changed: bool = True


def names_for(name: str, domain: Domain, pair: Pair) -> tuple[str, ...]:
    """Give the names that an uploaded pair is to serve; raises Invalid where it cannot."""
    if name in domain.also:
        raise Invalid(f"{name} shares the certificate of {domain.name}; upload one for {domain.name}")
    names = domain.names if name == domain.name else (name,)
    check_names(names, pair)
    return names


def check_names(names: Sequence[str], pair: Pair) -> None:
    """Raise Invalid unless the pair bears each of these names."""
    missing = next((name for name in names if not pair.bears(name)), None)
    if missing is not None:
        borne = ", ".join(pair.names[:5])
        raise Invalid(Problem("cert", f"it does not bear {missing}, only {borne}; bring one that does"))


def uploaded(pair: Pair, names: Sequence[str], project: str) -> list[Certificate]:
    """Give an uploaded pair as it is kept; nobody renews it."""
    return _kept(pair, names, project, UPLOADED, UPLOADED, pair.not_after)


def imported(pair: Pair, names: Sequence[str], project: str, issuer: str, spread: float) -> list[Certificate]:
    """Give an imported pair as it is kept; it is renewed like one that was ordered."""
    start, end = pair.not_before.timestamp(), pair.not_after.timestamp()
    return _kept(pair, names, project, issuer, IMPORTED, instant(renewal(start, end, spread)))


def _kept(
    pair: Pair, names: Sequence[str], project: str, issuer: str, source: str, renew_at: datetime
) -> list[Certificate]:
    certificate = Certificate(
        name=names[0],
        project=project,
        issuer=issuer,
        chain=pair.chain,
        key=pair.key,
        not_before=pair.not_before,
        not_after=pair.not_after,
        renew_at=renew_at,
        fingerprint=pair.fingerprint,
        source=source,
    )
    return certificate.under(names)


async def keep(writing: Writing, seal: Seal, brought: Sequence[Certificate], who: str, now: float) -> bool:
    """Have these served from now on; False where they are already. Orders for the same names are dropped."""
    names = [one.name for one in brought]
    standing = await store.valid(writing.connection, names, now)
    if all(one.name in standing and _is(one, standing[one.name]) for one in brought):
        return False
    await store.put(writing, seal, brought, now)
    await writing.connection.execute(delete(orders).where(orders.c.name.in_(names)))
    lines = [
        Happened(c.name, c.project, c.issuer, now, c.source, who, fingerprint=c.fingerprint) for c in brought
    ]
    await history.record(writing, lines)
    return True


async def longer(connection: AsyncConnection, brought: Certificate) -> Summary | None:
    """Give what is kept already of the same issuer, or of people, and ends later: it was renewed since."""
    found = next(iter(await summaries.sharing(connection, brought.name)), None)
    if found is None or found.project != brought.project or found.issuer not in (brought.issuer, UPLOADED):
        return None
    return found if found.not_after > brought.not_after.timestamp() else None


def _is(certificate: Certificate, standing: Standing) -> bool:
    theirs = (standing.project, standing.issuer, standing.source, standing.leader, standing.fingerprint)
    return theirs == (
        certificate.project,
        certificate.issuer,
        certificate.source,
        certificate.leader,
        certificate.fingerprint,
    )


async def register(writing: Writing, account: Account, sealed_key: bytes, now: float) -> bool:
    """Keep an account for an issuer; False where it has one already, which stays."""
    place = {"project": account.project, "issuer": account.issuer, "directory": account.directory}
    conditions = [accounts.c[column] == value for column, value in place.items()]
    if (await writing.connection.execute(select(accounts.c.issuer).where(*conditions))).first() is not None:
        return False
    row = {"url": account.url, "sealed_key": sealed_key, "email": account.email, "created": now}
    await writing.connection.execute(insert(accounts).values({**place, **row}))
    return True
