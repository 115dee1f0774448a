"""Revoking a name's certificate: its authority hears of it first, then every tier drops it, and another one
comes where that is wanted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from edgeward.certificates import history, store, summaries
from edgeward.certificates.history import Happened
from edgeward.certificates.issue import Issuance, provide
from edgeward.certificates.model import UPLOADED, Issuer, Summary
from edgeward.certificates.policy import Policy, certificate_for
from edgeward.database.engine import Writing
from edgeward.errors import Conflict, NotFound, Refused

Revoke = Callable[[Issuer, str, int], Awaitable[None]]
"""Tells an ACME authority: issuer, chain, reason (RFC 5280, 5.3.1). Revoked already is no error."""
Note = Callable[[Writing], Awaitable[None]]
"""Writes down who did it, within the transaction."""
_BY_OTHERS: Final = "its authority was not told: whoever issued it revokes it there"


@dataclass(frozen=True)
class Revocation:
    """What is to be revoked: kept under a canonical ``name``; ``reason`` as RFC 5280, 5.3.1 numbers them.
    ``project``: the one whose names may lose it; None: any.
    """

    name: str
    who: str
    reason: int = 0
    replace: bool = False
    project: str | None = None


async def revoke(issuance: Issuance, tell: Revoke, wanted: Revocation, note: Note) -> Sequence[str]:
    """Revoke a certificate under all its names; give what is to be said about it. Twice does no harm.

    Raises NotFound where there is none, Conflict where names of another project are served with it too, and
    what the authority says: then nothing has changed.
    """
    async with issuance.database.reading() as connection:
        found = await summaries.sharing(connection, wanted.name)
    if not found:
        raise NotFound(await _instead(issuance, wanted.name))
    if wanted.project is not None:
        _see_that_all_are_of(wanted.project, issuance.policy(), found)
    issuer = issuance.policy().issuer(found[0].project, found[0].issuer)
    notes = []
    if issuer is not None and issuer.acme is not None:
        await tell(issuer, found[0].chain, wanted.reason)
    elif found[0].source == UPLOADED or issuer is None:
        notes.append(_BY_OTHERS)
    now = issuance.clock()
    async with issuance.database.writing() as writing:
        found = await _left(writing, found)
        await store.withdraw(writing, [one.name for one in found], now)
        if wanted.replace and found:
            notes += await _replaced(issuance, writing, found[0], now)
        lines = [
            Happened(s.name, s.project, s.issuer, now, "revoked", wanted.who, fingerprint=s.fingerprint)
            for s in found
        ]
        await history.record(writing, lines)
        await note(writing)
    issuance.policy().look_again_at(wanted.name)
    return notes


async def _left(writing: Writing, told: Sequence[Summary]) -> list[Summary]:
    """Give those that are kept still: while their authority was told, a renewal may have come."""
    kept = await store.valid(writing.connection, [one.name for one in told], 0.0)  # expired ones, too
    return [one for one in told if one.name in kept and kept[one.name].fingerprint == one.fingerprint]


def _see_that_all_are_of(project: str, policy: Policy, found: Sequence[Summary]) -> None:
    """A name that went over to another project is served with what it shared before until it has its own."""
    domains = (policy.covering(one.name) for one in found)
    if any(domain is not None and domain.project != project for domain in domains):
        raise Conflict(
            "names of another project are served with the same certificate; first see that this name gets one"
            " of its own: edgeward certificates upload, or an issuer in its domain"
        )


async def _replaced(issuance: Issuance, writing: Writing, summary: Summary, now: float) -> list[str]:
    policy = issuance.policy()
    domain = policy.covering(summary.name)
    if domain is None:
        return [f"no domain covers {summary.name} any more: it is not replaced"]
    try:
        order = policy.order(certificate_for(summary.name, domain), domain)
    except Refused as error:
        return [f"it is not replaced: {error}"]
    await provide(issuance, writing, [order], now, "visitor")
    return [f"another one is ordered from {order.issuer}: edgeward get orders"] if order.queued else []


async def _instead(issuance: Issuance, name: str) -> str:
    async with issuance.database.reading() as connection:
        wildcard = await summaries.serving(connection, name, issuance.clock())
    if wildcard is None or wildcard.not_after <= issuance.clock():
        return f"there is no certificate for {name}"
    return f"{name} is served with the certificate of {wildcard.name}; revoke that one"
