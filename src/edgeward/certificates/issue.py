"""Issuing into the store: what obtaining, eager making and renewing have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from edgeward.certificates import history, store
from edgeward.certificates.history import Happened
from edgeward.certificates.local.authority import Authority
from edgeward.certificates.local.rsa_keys import RsaKeys
from edgeward.certificates.model import Certificate, Kept, Order
from edgeward.certificates.orders import queue
from edgeward.certificates.orders.model import Reason, Wish
from edgeward.certificates.policy import Policy
from edgeward.database.engine import Database, Writing
from edgeward.log import logger
from edgeward.sealing import Seal

_log = logger("edgeward.certificates.issue")


@dataclass(frozen=True)
class Issuance:
    """What issuing needs; the program puts it together.

    ``authority`` and ``policy`` give those of this moment, ``clock`` Unix seconds, ``spread`` a
    number in [0, 1) that differs from one certificate to the next.
    """

    database: Database
    seal: Seal
    authority: Callable[[], Authority]
    policy: Callable[[], Policy]
    clock: Callable[[], float]
    spread: Callable[[], float]
    rsa_keys: RsaKeys = field(default_factory=RsaKeys)
    ordered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where this controller queued an order."""


async def provide(
    issuance: Issuance,
    writing: Writing,
    wanted: Iterable[Order],
    now: float,
    reason: Reason,
    ends: Mapping[str, float] | None = None,
) -> dict[str, Kept]:
    """Sign at once what our own authority signs, and queue the orders for the others; give what was signed.

    ``ends``: when certificates end that are to be replaced.
    """
    every, expires = list(wanted), ends or {}
    wishes = [Wish(order, reason, expires.get(order.name)) for order in every if order.queued]
    if wishes:
        await queue.add(writing, wishes, now)
    return await issue(issuance, writing, [order for order in every if not order.queued], now)


async def issue(
    issuance: Issuance, writing: Writing, wanted: Iterable[Order], now: float, *, note: bool = True
) -> dict[str, Kept]:
    """Sign and store in one transaction; an order that cannot be signed is logged and left out.

    ``note`` it in the history of the names.
    """
    authority, ordered = issuance.authority(), list(wanted)
    signed: dict[str, Certificate] = {}
    for order in ordered:
        try:
            signed[order.name] = authority.issue(order, now, issuance.spread(), issuance.rsa_keys.take)
        except ValueError as error:
            _log.error("certificate not issued", name=order.name, reason=str(error))
    if not signed:
        return {}
    fresh = [
        copy for order in ordered if order.name in signed for copy in signed[order.name].under(order.names)
    ]
    revision = await store.put(writing, issuance.seal, fresh, now)
    if note:
        lines = [
            Happened(c.name, c.project, c.issuer, now, "issued", fingerprint=c.fingerprint) for c in fresh
        ]
        await history.record(writing, lines)
    return {certificate.name: Kept(certificate, revision) for certificate in fresh}
