"""Renewal in time: batches of what is due, and one that fails waits without holding up the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from edgeward.certificates import expirations, store, summaries
from edgeward.certificates.issue import Issuance, provide
from edgeward.certificates.model import Order, Summary
from edgeward.certificates.orders import queue
from edgeward.database.leases import Lease, Taken, held
from edgeward.errors import EdgewardError, Refused
from edgeward.log import logger

_BATCH: Final = 32
_EVERY: Final = 10.0
_FROM_OTHERS: Final = ("ordered", "imported")
_MOST_QUEUED: Final = 5000
_ORDERED_AT_ONCE: Final = 500
_ORDERS_KEPT: Final = 30 * 86400.0
_SOONEST, _LATEST = 30.0, 6 * 3600.0
_log = logger("edgeward.certificates.renewal.renew")


async def run(issuance: Issuance, lease: Lease | None = None) -> None:
    """Renew what falls due, until cancelled; of several controllers only the one that has the lease."""
    while True:
        try:
            looked_at = _BATCH
            while looked_at == _BATCH:
                looked_at = await renew_due(issuance, issuance.clock(), lease)
            await order_due(issuance, issuance.clock(), lease)
            await forget_uploaded(issuance, issuance.clock(), lease)
        except Taken:
            raise
        except EdgewardError as error:
            _log.warning("renewals wait", reason=str(error))
        await asyncio.sleep(_EVERY)


async def order_due(issuance: Issuance, now: float, lease: Lease | None = None) -> int:
    """Queue orders for certificates of other authorities that are due, the most urgent first, as long as few
    renewals wait; give how many certificates it looked at.
    """
    async with issuance.database.reading() as connection:
        room = _MOST_QUEUED - await queue.renewals(connection)
    looked_at = 0
    for source in _FROM_OTHERS:
        seen = _ORDERED_AT_ONCE
        while seen == _ORDERED_AT_ONCE and looked_at < room:
            seen = await renew_due(issuance, now, lease, source, _ORDERED_AT_ONCE)
            looked_at += seen
    return looked_at


async def renew_due(
    issuance: Issuance, now: float, lease: Lease | None = None, source: str = "issued", most: int = _BATCH
) -> int:
    """Renew one batch of a source and give how many certificates it looked at.

    What no domain wants any more is not renewed, and forgotten once it has expired. What cannot be
    renewed now is tried again after a sixteenth of the life it has left.
    """
    async with issuance.database.reading() as connection:
        seen = await summaries.renewals_due(connection, now, most, source)
    if not seen:
        return 0
    await issuance.rsa_keys.fill(sum(order.beside for order in _orders(issuance, seen)))
    async with issuance.database.writing() as writing:
        await held(writing, lease)
        due = await summaries.still_due(writing.connection, [s.name for s in seen], now)
        wanted = _orders(issuance, due)
        ends = {summary.name: summary.not_after for summary in due}
        renewed = await provide(issuance, writing, wanted, now, "renewal", ends)
        ordered = {order.name for order in wanted if order.queued} if source != "issued" else set()
        left = [s for s in due if s.name not in renewed and s.name not in ordered]
        gone = {s.name for s in left if s.not_after <= now and issuance.policy().wanted(s.name) is None}
        shared = await summaries.expired_followers(writing.connection, [s.name for s in due], now)
        await store.forget(writing, gone | {name for name in shared if not _shares(issuance, name)})
        await store.postpone(writing, {s.name: _next_try(s, now) for s in left if s.name not in gone})
        await expirations.sweep(writing, now - _ORDERS_KEPT)
    if renewed:
        _log.info("certificates renewed", renewed=len(renewed), names=sorted(renewed)[:5])
    return len(seen)


async def forget_uploaded(issuance: Issuance, now: float, lease: Lease | None = None) -> None:
    """Forget what somebody uploaded for names that no domain covers any more, once it has expired."""
    async with issuance.database.reading() as connection:
        if not _uncovered(issuance, await summaries.uploads_expired(connection, now)):
            return
    async with issuance.database.writing() as writing:
        await held(writing, lease)
        expired = await summaries.uploads_expired(writing.connection, now)
        await store.forget(writing, _uncovered(issuance, expired))


def _uncovered(issuance: Issuance, names: Sequence[str]) -> list[str]:
    return [name for name in names if issuance.policy().covering(name) is None]


def _orders(issuance: Issuance, due: Sequence[Summary]) -> list[Order]:
    policy = issuance.policy()
    found = []
    for summary in due:
        domain = policy.wanted(summary.name)
        if domain is None:
            continue
        try:
            found.append(policy.order(summary.name, domain))
        except Refused as error:
            _log.warning("certificate not renewed", name=summary.name, reason=str(error))
    return found


def _shares(issuance: Issuance, name: str) -> bool:
    """Whether a name is to share a certificate still, and comes to another one with whoever leads it."""
    domain = issuance.policy().wanted(name)
    return domain is not None and name in domain.names


def _next_try(summary: Summary, now: float) -> float:
    return now + min(max((summary.not_after - now) / 16, _SOONEST), _LATEST)
