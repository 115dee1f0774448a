"""Orders as they wait, are asked for, and are wished for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from edgeward.certificates.model import Domain, Order

Reason = Literal["visitor", "renewal", "new"]
Rank = Literal["visitor", "urgent", "bulk"]
"""What an order is worth, the best first."""
RANKS: Final[Sequence[Rank]] = ("visitor", "urgent", "bulk")


@dataclass(frozen=True)
class Queued:
    """An order as it stands; times are Unix seconds. ``authority`` is the issuer that is tried now."""

    name: str
    project: str
    issuer: str
    reason: Reason
    state: Literal["waiting", "working", "failed"]
    queued: float
    due: float
    expires: float | None = None
    attempts: int = 0
    began: float | None = None
    step: str | None = None
    authority: str | None = None
    url: str | None = None
    problem: str | None = None

    def stands_for(self, wanted: Order | Domain) -> bool:
        """Whether there need be no other for what is wanted: its issuer is the same, or it is worked on."""
        return self.state == "working" or (self.project, self.issuer) == (wanted.project, wanted.issuer)


@dataclass(frozen=True)
class Sought:
    """Which orders are asked for; None means any. ``name`` may end in ``*``."""

    project: str | None = None
    issuer: str | None = None
    name: str | None = None
    state: str | None = None

    def within(self, project: str | None) -> Sought:
        return replace(self, project=project)


@dataclass(frozen=True)
class Wish:
    """An order to be queued; ``expires``: of the certificate it is to replace."""

    order: Order
    reason: Reason
    expires: float | None = None
