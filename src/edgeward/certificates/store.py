"""Certificates in the database; keys are sealed, bound to the name they belong to.

A record that does not open (damaged, or sealed under another key) counts as missing, so that it is
issued anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates.model import (
    IMPORTED,
    UPLOADED,
    Beside,
    Certificate,
    Kept,
    Standing,
)
from edgeward.certificates.x509 import instant
from edgeward.database.engine import Writing
from edgeward.database.parts import MOST, in_parts
from edgeward.database.schema import certificates, tombstones
from edgeward.domain_name import CATCH_ALL, wildcard_of
from edgeward.errors import Invalid
from edgeward.log import logger
from edgeward.sealing import Seal
from edgeward.secret import Secret

_KIND: Final = "certificates"
_BROUGHT: Final = (UPLOADED, IMPORTED)
_log = logger("edgeward.certificates.store")
_columns = certificates.c
_ECDSA: Final = _columns.algorithm == "ecdsa"
"""Every name has such a certificate; an RSA one only beside it."""
_PAIRED: Final = (_columns.name, _columns.algorithm)
_STORED: Final = delete(certificates).where(_columns.name == bindparam("stored"))


async def find(connection: AsyncConnection, seal: Seal, name: str, now: float) -> Kept | None:
    """Give the valid certificate that serves a canonical name: its own, else its wildcard's."""
    return (await find_all(connection, seal, [name], now)).get(name)


async def find_all(
    connection: AsyncConnection, seal: Seal, names: Collection[str], now: float
) -> dict[str, Kept]:
    """Give the valid certificates that serve these names, by the name asked for."""
    asked = {n for name in names for n in (name, wildcard_of(name)) if n is not None}
    valid: dict[str, Kept] = {}
    for some in in_parts(sorted(asked)):
        rows = await connection.execute(
            select(certificates).where(_columns.name.in_(some), _columns.not_after > now).order_by(*_PAIRED)
        )
        valid.update((kept.certificate.name, kept) for kept in _opened(seal, rows))
    served = ((name, valid.get(name) or valid.get(wildcard_of(name) or "")) for name in names)
    return {name: kept for name, kept in served if kept is not None}


async def changes_since(connection: AsyncConnection, seal: Seal, since: int, limit: int) -> list[Kept]:
    """Give what changed or moved to other nodes after a revision, in the order of ``placed``: about
    ``limit``, and whole revisions only.

    What cannot be opened is left out: ``changes_end`` says how far this went.
    """
    upto = await changes_end(connection, since, limit)
    query = select(certificates).where(_columns.placed > since).order_by(_columns.placed, *_PAIRED)
    if upto is not None:
        query = query.where(_columns.placed <= upto)
    return _opened(seal, await connection.execute(query))


async def changes_end(connection: AsyncConnection, since: int, limit: int) -> int | None:
    """Give the last revision ``changes_since`` looks at; None where it looks at all there is."""
    newer = _columns.placed > since
    last = select(_columns.placed).where(newer).order_by(_columns.placed).offset(limit - 1).limit(1)
    return (await connection.execute(last)).scalar_one_or_none()


async def valid(connection: AsyncConnection, names: Sequence[str], now: float) -> dict[str, Standing]:
    """Give what stands of the valid certificates that are kept under exactly these names."""
    found: dict[str, Standing] = {}
    for some in in_parts(names):
        query = select(_columns.name, *(_columns[field] for field in Standing.__dataclass_fields__))
        query = query.where(_columns.name.in_(some), _columns.not_after > now, _ECDSA)
        found.update((name, Standing(*rest)) for name, *rest in await connection.execute(query))
    return found


async def beside(connection: AsyncConnection, names: Sequence[str]) -> set[str]:
    """Give those of these names that have an RSA certificate beside the other."""
    found: set[str] = set()
    for some in in_parts(names):
        query = select(_columns.name).where(_columns.name.in_(some), ~_ECDSA)
        found.update((await connection.execute(query)).scalars())
    return found


async def put(
    writing: Writing, seal: Seal, fresh: Iterable[Certificate], now: float, asked: float | None = None
) -> int:
    """Store or replace certificates, all under this transaction's revision; what somebody uploaded stays
    while it is valid, unless that is replaced by what somebody brings. ``asked``: when their authority is
    to be asked about them.
    """
    revision = await writing.next_revision()
    every = list(fresh)
    stays = await _uploaded(writing.connection, [c.name for c in every if c.source not in _BROUGHT], now)
    rows = [row for certificate in _led(every, stays) for row in _rows(certificate, seal, revision, asked)]
    if rows:
        names = {row["name"] for row in rows}
        await writing.connection.execute(_STORED, [{"stored": name} for name in names])
        await writing.connection.execute(insert(certificates), rows)
    return revision


def _led(fresh: Iterable[Certificate], stays: Collection[str]) -> Iterator[Certificate]:
    """Give all but what stays. Where that leads the others, the first of these does: what is renewed is
    who leads.
    """
    leaders: dict[str, str] = {}
    for one in fresh:
        if one.name in stays:
            continue
        if one.leader is None or one.leader not in stays:
            yield one
            continue
        first = leaders.setdefault(one.leader, one.name)
        yield replace(one, leader=None if first == one.name else first)


async def _uploaded(connection: AsyncConnection, names: Sequence[str], now: float) -> set[str]:
    """Give those that somebody uploaded a certificate for that is valid still."""
    found: set[str] = set()
    for some in in_parts(names):
        query = select(_columns.name).where(_columns.name.in_(some))
        query = query.where(_columns.source == UPLOADED, _columns.not_after > now)
        found.update((await connection.execute(query)).scalars())
    return found


async def move(writing: Writing, domains: Collection[str]) -> None:
    """Have nodes look anew at the certificates that bear the names of these domains, or names below them."""
    if not domains:
        return
    if CATCH_ALL in domains:
        revision = await writing.next_revision()
        await writing.connection.execute(update(certificates).values(placed=revision))
        return
    exact = sorted(name for name in domains if not name.startswith("*."))
    if len(exact) < len(domains) or len(exact) > MOST:
        # one look at all names is cheaper than one for each wildcard
        names = (await writing.connection.execute(select(_columns.name))).scalars()
        exact = sorted(n for n in names if n in domains or wildcard_of(n) in domains)
    revision = await writing.next_revision()
    for some in in_parts(exact):
        statement = update(certificates).where(_columns.name.in_(some)).values(placed=revision)
        await writing.connection.execute(statement)


async def postpone(writing: Writing, renewals: Mapping[str, float]) -> None:
    """Move the next attempts at renewal; nodes need not hear of it."""
    if renewals:
        statement = update(certificates).where(_columns.name == bindparam("stored"))
        statement = statement.values(renew_at=bindparam("later"))
        rows = [{"stored": name, "later": at} for name, at in renewals.items()]
        await writing.connection.execute(statement, rows)


async def withdraw(writing: Writing, names: Collection[str], now: float) -> int:
    """Delete certificates and have every node delete them, too; give the revision of that."""
    revision = await writing.next_revision()
    for some in in_parts(sorted(names)):
        rows = await writing.connection.execute(
            delete(certificates).where(_columns.name.in_(some)).returning(_columns.name, _columns.project)
        )
        buried = [
            {"kind": _KIND, "project": row.project, "name": row.name, "revision": revision, "at": now}
            for row in {(row.project, row.name): row for row in rows}.values()
        ]
        if buried:
            gone = tombstones.c.name.in_([row["name"] for row in buried])
            await writing.connection.execute(delete(tombstones).where(tombstones.c.kind == _KIND, gone))
            await writing.connection.execute(insert(tombstones), buried)
    return revision


async def forget(writing: Writing, names: Iterable[str]) -> None:
    """Delete certificates that have expired and that nobody wants again; nodes drop those by themselves."""
    for some in in_parts(sorted(names)):
        await writing.connection.execute(delete(certificates).where(_columns.name.in_(some)))


def _rows(certificate: Certificate, seal: Seal, revision: int, asked: float | None) -> list[dict[str, Any]]:
    row = _row(certificate, seal, revision)
    row["window_next"] = asked if certificate.leader is None else None
    if (twin := certificate.beside) is None:
        return [row]
    key = seal.seal(twin.key.reveal().encode(), context(certificate.name, "rsa"))
    changed = {"chain": twin.chain, "sealed_key": key, "fingerprint": twin.fingerprint}
    return [row, {**row, "algorithm": "rsa", **changed}]


def _row(certificate: Certificate, seal: Seal, revision: int) -> dict[str, Any]:
    return {
        "name": certificate.name,
        "algorithm": "ecdsa",
        "project": certificate.project,
        "issuer": certificate.issuer,
        "chain": certificate.chain,
        "sealed_key": seal.seal(certificate.key.reveal().encode(), context(certificate.name)),
        "fingerprint": certificate.fingerprint,
        "not_before": certificate.not_before.timestamp(),
        "not_after": certificate.not_after.timestamp(),
        "renew_at": certificate.renew_at.timestamp(),
        "revision": revision,
        "placed": revision,
        "source": certificate.source,
        "leader": certificate.leader,
    }


def _opened(seal: Seal, rows: Iterable[Row[Any]]) -> list[Kept]:
    """Open rows in the order of ``_PAIRED``: an RSA certificate stands behind the other one of its name."""
    kept: list[Kept] = []
    for row in rows:
        try:
            key = Secret(seal.open(row.sealed_key, context(row.name, row.algorithm)).decode())
        except Invalid as error:
            _log.error("a stored certificate cannot be opened; it counts as missing", reason=str(error))
            continue
        if row.algorithm == "ecdsa":
            kept.append(Kept(_certificate(row, key), row.revision, row.placed))
        elif kept and kept[-1].certificate.name == row.name:
            twin = Beside(row.chain, key, row.fingerprint)
            kept[-1] = replace(kept[-1], certificate=replace(kept[-1].certificate, beside=twin))
    return kept


def _certificate(row: Row[Any], key: Secret[str]) -> Certificate:
    return Certificate(
        name=row.name,
        project=row.project,
        issuer=row.issuer,
        chain=row.chain,
        key=key,
        not_before=instant(row.not_before),
        not_after=instant(row.not_after),
        renew_at=instant(row.renew_at),
        fingerprint=row.fingerprint,
        source=row.source,
        leader=row.leader,
    )


def context(name: str, algorithm: str = "ecdsa") -> str:
    """Give what a sealed key is bound to."""
    return f"certificate:{name}" if algorithm == "ecdsa" else f"certificate:{name}/{algorithm}"
