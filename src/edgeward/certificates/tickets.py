"""Keys that seal TLS sessions (RFC 5077, RFC 8446 2.2): made new from time to time, the same on every node.

What is stored is one secret for all; each hot name's keys are derived from it, so that a node that serves
some names can open the sessions of these and no others.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import store
from edgeward.certificates.issue import Issuance
from edgeward.database.schema import ticket_keys
from edgeward.errors import EdgewardError, Invalid
from edgeward.log import logger
from edgeward.sealing import Seal

LIFE: Final = 12 * 3600.0
KEPT: Final = 3
"""Sessions sealed with the last ones are still opened: for a day at least."""
_BYTES: Final = 80
_EVERY: Final = 60.0
CONTEXT: Final = "ticket_keys"
_log = logger("edgeward.certificates.tickets")


async def run(issuance: Issuance) -> None:
    """Make new keys in time while there are hot names, until cancelled."""
    while True:
        try:
            if await rotate(issuance, issuance.clock()):
                _log.info("new keys for TLS sessions")
        except EdgewardError as error:
            _log.warning("new keys for TLS sessions wait", reason=str(error))
        await asyncio.sleep(_EVERY)


async def rotate(issuance: Issuance, now: float) -> bool:
    """Make a new key where the newest is too old; False where it is not, or another controller did."""
    hot = [domain.name for domain in issuance.policy().hot()]
    if not hot:
        return False
    async with issuance.database.reading() as connection:
        if not await _due(connection, now):
            return False
    async with issuance.database.writing() as writing:
        if not await _due(writing.connection, now):
            return False
        sealed = issuance.seal.seal(os.urandom(_BYTES), CONTEXT)
        revision = await writing.next_revision()
        row = insert(ticket_keys).values(sealed=sealed, created=now, revision=revision)
        await writing.connection.execute(row)
        newest = select(ticket_keys.c.id).order_by(ticket_keys.c.id.desc()).limit(KEPT)
        kept = (await writing.connection.execute(newest)).scalars().all()
        await writing.connection.execute(delete(ticket_keys).where(ticket_keys.c.id.not_in(kept)))
        await store.move(writing, hot)  # nodes get them with the names' certificates
    return True


async def _due(connection: AsyncConnection, now: float) -> bool:
    newest = select(ticket_keys.c.created).order_by(ticket_keys.c.id.desc()).limit(1)
    created = (await connection.execute(newest)).scalar_one_or_none()
    return created is None or not now - LIFE < created <= now + LIFE


async def masters(connection: AsyncConnection, seal: Seal) -> list[bytes]:
    """Give the stored secrets, the newest first; what cannot be opened is left out."""
    query = select(ticket_keys.c.sealed).order_by(ticket_keys.c.id.desc()).limit(KEPT)
    found = []
    for sealed in (await connection.execute(query)).scalars():
        try:
            found.append(seal.open(sealed, CONTEXT))
        except Invalid as error:
            _log.error("a key for TLS sessions cannot be opened", reason=str(error))
    return found


def derived(masters: Sequence[bytes], name: str) -> list[bytes]:
    """Give a name's own keys of 80 bytes each, in the same order."""
    info = f"edgeward session tickets {name}".encode()
    return [HKDF(hashes.SHA256(), _BYTES, salt=None, info=info).derive(master) for master in masters]
