"""What is between the planner, which says when to order what, and the authority that is asked for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from edgeward.certificates.model import Issuer
from edgeward.errors import Refused, Unavailable
from edgeward.secret import Secret

Scope = Literal["account", "orders", "domain", "exact", "failures"]
"""What an authority counts: everything of an account, its orders, certificates of a registered domain, of
the same set of names, and failed proofs of a name."""

Step = Literal["account", "order", "proof", "validation", "finalize", "download"]
"""What is being done of an order."""


@dataclass(frozen=True)
class Saved:
    """How far an order has come, as it is kept in the database: a crash goes on from here."""

    step: Step = "account"
    url: str | None = None
    """Of the order at the authority, once there is one."""
    key: Secret[str] | None = None
    """PKCS#8 PEM of the certificate's key."""

    def at(self, step: Step) -> Saved:
        return replace(self, step=step)


Save = Callable[[Saved], Awaitable[None]]
"""Keeps it, durably; raises Taken where another controller works on this order by now."""


@dataclass(frozen=True)
class Job:
    """One certificate to be had from one authority. ``names`` are canonical, the first is what it is kept
    under; ``replaces`` is the identifier of RFC 9773 of the certificate it takes the place of.
    """

    names: tuple[str, ...]
    project: str
    issuer: Issuer
    replaces: str | None = None


@dataclass(frozen=True)
class Fulfilled:
    """``chain`` is PEM, leaf first, without the root; ``key`` is PKCS#8 PEM."""

    chain: str
    key: Secret[str]


@dataclass(frozen=True)
class Window:
    """When the authority suggests to renew (RFC 9773); Unix seconds."""

    start: float
    end: float
    ask_again: float


class Limited(Unavailable):
    """The authority has had enough (429): of what, of whom, until when (Unix seconds)."""

    def __init__(self, message: str, scope: Scope, key: str, until: float) -> None:
        super().__init__(message)
        self.scope, self.key, self.until = scope, key, until


class Unshown(Unavailable):
    """What proves a name could not be put up, such as a record in DNS: no fault of the authority's."""


class Unproven(Refused):
    """The authority could not see that a name is ours: counts against its limit of failures."""


class Rejected(Refused):
    """The authority does not issue for such a name, or not to us; trying again soon is of no use."""


class Fulfiller(Protocol):
    """The door to an authority.

    ``fulfil`` goes on from where ``saved`` stands and calls ``save`` before and after every step that
    cannot be undone. Raises Limited, Unshown, Unproven, Rejected; Unavailable where the authority does not
    answer or answers with a fault of its own; and what ``save`` raises.
    """

    async def fulfil(self, job: Job, saved: Saved, save: Save) -> Fulfilled: ...

    async def window(self, issuer: Issuer, chain: str) -> Window | None:
        """Give the suggestion for a certificate; None where this authority makes none."""
        ...

    async def revoke(self, issuer: Issuer, chain: str, reason: int) -> None: ...

    async def account(self, issuer: Issuer) -> str:
        """Give what this authority counts our orders under: its directory and the account's URL."""
        ...
