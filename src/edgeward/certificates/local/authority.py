"""This installation's own authority: what it issues, and its roots and intermediates in the store."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates.local.rsa_keys import new_rsa_key
from edgeward.certificates.local.signing import LeafSigner, read_signer
from edgeward.certificates.local.succession import (
    Held,
    due,
    signing_intermediate,
    signing_root,
    unexpired_roots,
)
from edgeward.certificates.model import Beside, Certificate, Order
from edgeward.certificates.timing import renewal_of_own
from edgeward.certificates.x509 import LeafKey, instant
from edgeward.database.engine import Database
from edgeward.database.schema import authorities
from edgeward.errors import Invalid, Unavailable
from edgeward.sealing import Seal
from edgeward.secret import Secret


class Authority:
    """What signs now, with every root that visitors should trust."""

    def __init__(self, held: Sequence[Held], now: float) -> None:
        roots = unexpired_roots(held, now)
        root = signing_root(roots, now)
        intermediate = signing_intermediate(held, root)
        if intermediate is None:
            raise Unavailable("the local authority has no intermediate; restart the controller")
        self._leaves = LeafSigner(intermediate.signer)
        self.intermediate_pem = intermediate.signer.pem
        self._roots = sorted(roots, key=lambda r: (r is not root, -r.not_after))

    def issue(
        self, order: Order, now: float, spread: float, rsa_key: Callable[[], LeafKey] = new_rsa_key
    ) -> Certificate:
        """Issue what was ordered; ``spread`` in [0, 1) keeps certificates from being renewed all at once."""
        issued = self._issue(order, order.names, [], now, spread)
        if not order.beside:
            return issued
        twin = self._leaves.sign(order.names, [], order.lifetime, now, rsa_key())
        chain = twin.certificate + self.intermediate_pem
        return replace(issued, beside=Beside(chain, Secret(twin.key), twin.fingerprint))

    def issue_server(
        self, names: Sequence[str], ips: Sequence[str], lifetime: float, now: float
    ) -> Certificate:
        """Issue for a server of our own, such as the API; ``names`` may be single labels."""
        order = Order([*names, *ips][0], "default", "local", lifetime)
        return self._issue(order, names, ips, now, 0.0)

    def _issue(
        self, order: Order, names: Sequence[str], ips: Sequence[str], now: float, spread: float
    ) -> Certificate:
        leaf = self._leaves.sign(names, [ipaddress.ip_address(ip) for ip in ips], order.lifetime, now)
        return Certificate(
            name=order.name,
            project=order.project,
            issuer=order.issuer,
            chain=leaf.certificate + self.intermediate_pem,
            key=Secret(leaf.key),
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            renew_at=instant(renewal_of_own(now, leaf.not_after.timestamp(), spread)),
            fingerprint=leaf.fingerprint,
        )

    def roots_pem(self) -> str:
        """Give every root to be trusted, the one that signs now first."""
        return "".join(root.signer.pem for root in self._roots)


async def ensure(database: Database, seal: Seal, now: float) -> Authority:
    """Give the authority, made or renewed where it is due; safe when several controllers call at once.

    Called at start and from time to time after that. Raises Invalid where the keys were sealed under
    another seal key.
    """
    async with database.reading() as connection:
        held = await _held(connection, seal)
    if due(held, now):
        async with database.writing() as writing:
            held = await _held(writing.connection, seal)
            held = await _keep(writing.connection, seal, held, due(held, now))
    return Authority(held, now)


def publish(pem: str, path: Path) -> bool:
    """Write the roots where people and programs look for them; False where they were there already."""
    try:
        if path.is_file() and path.read_text() == pem:
            return False
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(pem)
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        remedy = "see that its disk has space and that this user may write there"
        raise Unavailable(f"{path}: {error.strerror}; {remedy}") from error
    return True


async def _held(connection: AsyncConnection, seal: Seal) -> list[Held]:
    rows = (await connection.execute(select(authorities).order_by(authorities.c.id))).all()
    held = []
    for row in rows:
        try:
            key = seal.open(row.sealed_key, context(row.certificate))
        except Invalid as error:
            raise Invalid(
                f"the local authority's keys do not open with this seal.key ({error});"
                " copy that of another controller, or restore the one they were sealed with from your backup"
            ) from error
        try:
            held.append(Held(row.role, read_signer(row.certificate, key), row.signs_from, row.id))
        except ValueError as error:
            raise Invalid(
                f"authority {row.id} in the database is damaged: {error}; restore a backup"
            ) from error
    return held


async def _keep(
    connection: AsyncConnection, seal: Seal, held: Sequence[Held], fresh: Sequence[Held]
) -> list[Held]:
    """Insert the fresh ones, roots first, and give all there are now."""
    kept = list(held)
    for new in fresh:
        pem = new.signer.pem
        row = insert(authorities).values(
            role=new.role,
            parent=next((h.id for h in kept if h.signed(new)), None),
            certificate=pem,
            sealed_key=seal.seal(new.signer.key_pem, context(pem)),
            not_before=new.not_before,
            not_after=new.not_after,
            signs_from=new.signs_from,
        )
        result = await connection.execute(row.returning(authorities.c.id))
        kept.append(replace(new, id=result.scalar_one()))
    return kept


def context(pem: str) -> str:
    """Bind a sealed key to its certificate: neither opens beside another one."""
    return f"authority:{hashlib.sha256(pem.encode()).hexdigest()}"
