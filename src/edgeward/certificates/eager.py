"""Certificates for eager domains: there before the first visitor, soon after the declaration."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import store, tickets
from edgeward.certificates.issue import Issuance, provide
from edgeward.certificates.model import UPLOADED, Domain, Order
from edgeward.certificates.orders import queue
from edgeward.database.leases import Lease, Taken, held
from edgeward.errors import EdgewardError, Refused
from edgeward.log import logger

_BATCH: Final = 32
_LOOK_AGAIN: Final = 300.0
_log = logger("edgeward.certificates.eager")


async def run(issuance: Issuance, changed: asyncio.Event, lease: Lease | None = None) -> None:
    """Make what is missing at the start, after each ``changed``, and now and then; until cancelled.

    After a change only domains that are new or different are looked at, else all.
    """
    whole = True
    while True:
        changed.clear()
        policy = issuance.policy()
        fresh = policy.fresh()
        try:
            await make_missing(issuance, list(policy.eager()) if whole else fresh, lease)
            whole = False
            await tickets.rotate(issuance, issuance.clock())  # where the first hot name was declared
        except Taken:
            raise
        except EdgewardError as error:
            _log.warning("eager certificates wait", reason=str(error))
            whole = True
        try:
            async with asyncio.timeout(_LOOK_AGAIN):
                await changed.wait()
        except TimeoutError:
            whole = True


async def make_missing(issuance: Issuance, domains: Sequence[Domain], lease: Lease | None = None) -> int:
    """Issue for those eager domains without a certificate of their project and issuer; give how many.

    In small transactions, so that visitors' names get their turn in between.
    """
    if not domains:
        return 0
    async with issuance.database.reading() as connection:
        missing = await _missing(issuance, connection, domains, issuance.clock())
        queued = await queue.states(connection, [d.name for d in missing if issuance.policy().orders(d)])
        missing = [d for d in missing if d.name not in queued or not queued[d.name].stands_for(d)]
    made = 0
    for start in range(0, len(missing), _BATCH):
        made += await _make(issuance, missing[start : start + _BATCH], lease)
        if len(missing) > _BATCH:
            _log.info("eager certificates", made=made, missing=len(missing) - made)
    return made


async def _make(issuance: Issuance, domains: Sequence[Domain], lease: Lease | None) -> int:
    now = issuance.clock()
    await issuance.rsa_keys.fill(sum(domain.hot for domain in domains))
    async with issuance.database.writing() as writing:
        await held(writing, lease)
        missing = await _missing(issuance, writing.connection, domains, now)
        wanted = [order for domain in missing if (order := _ordered(issuance, domain)) is not None]
        return len(await provide(issuance, writing, wanted, now, "new"))


async def _missing(
    issuance: Issuance, connection: AsyncConnection, domains: Sequence[Domain], now: float
) -> list[Domain]:
    policy = issuance.policy()
    standing = await store.valid(connection, [name for domain in domains for name in domain.names], now)
    twins = await store.beside(connection, [domain.name for domain in domains if domain.hot])
    brought = {name for name, found in standing.items() if found.source == UPLOADED}
    alone = {d.name for d in domains if d.hot and d.name not in twins and d.name not in brought}
    return [
        d
        for d in domains
        if policy.lacks(d, standing)
        or (d.name in alone and policy.names_of(d) and not policy.orders(d))  # twins are our own only
    ]


def _ordered(issuance: Issuance, domain: Domain) -> Order | None:
    """Give the order as policy has it by now: the domain may have gone or changed since."""
    policy = issuance.policy()
    wanted = policy.wanted(domain.name)
    if wanted is None or wanted.name != domain.name:
        return None
    try:
        return policy.order(wanted.name, wanted)
    except Refused as error:
        _log.warning("eager certificate not made", name=domain.name, reason=str(error))
        return None
