"""Issuing into the store: what obtaining, eager making and renewing have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edgeward.certificates import store
from edgeward.certificates.authority import Authority
from edgeward.certificates.model import Certificate, Kept, Order
from edgeward.certificates.policy import Policy
from edgeward.certificates.rsa_keys import RsaKeys
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


async def issue(issuance: Issuance, writing: Writing, orders: Iterable[Order], now: float) -> dict[str, Kept]:
    """Sign and store in one transaction; an order that cannot be signed is logged and left out."""
    authority, ordered = issuance.authority(), list(orders)
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
    revision = await store.put(writing, issuance.seal, fresh)
    return {certificate.name: Kept(certificate, revision) for certificate in fresh}
