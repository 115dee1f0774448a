"""Whether a name that a visitor asks for, and that has no certificate yet, may have one.

For whoever obtains certificates on demand, before anything is issued or ordered::

    if not permission.knows(name, domain):
        await permission.learn(name, domain)  # asks the domain's URL; elsewhere than where names wait in line
    await permission.permit(name, domain, ordered, now)  # raises Refused, or Unavailable: try again soon

``permit`` counts: what it allowed once it allows for an hour more without counting again, so that a name
that fails and is tried again does not use up what is there for others. Names that have a certificate are
not asked about.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from edgeward.certificates.model import Budgets, Domain
from edgeward.certificates.on_demand.ask import Asker
from edgeward.certificates.on_demand.budgets import Exhausted, Ledger, Purse
from edgeward.database.engine import Database
from edgeward.errors import Refused, Unavailable

OUTCOMES: Final = ("allowed", "refused", "too many", "undecided")
_ALLOWED_SECONDS: Final = 3600.0
_MOST_REMEMBERED: Final = 100_000


class Permission:
    """``limits()`` gives what is declared now of how many names there may be."""

    def __init__(self, database: Database, limits: Callable[[], Budgets]) -> None:
        self._limits = limits
        self._asker = Asker()
        self._ledger = Ledger(database)
        self._allowed: OrderedDict[tuple[str, str], float] = OrderedDict()
        self.decided: Counter[str] = Counter()
        """How often a name was allowed, refused, one too many, or not decided: ``OUTCOMES``."""

    def knows(self, name: str, domain: Domain) -> bool:
        """Say whether nobody need be asked."""
        return domain.ask is None or self._asker.knows(domain.ask, name)

    async def learn(self, name: str, domain: Domain) -> None:
        """Ask the domain's URL; whatever becomes of it, ``permit`` says."""
        if domain.ask is not None:
            await self._asker.learn(domain.ask, name)

    async def permit(self, name: str, domain: Domain, ordered: bool, now: float) -> None:
        """Raise Refused where it may not; ``ordered``: from an authority that is not ours."""
        if not domain.on_demand:
            return
        outcome = "undecided"
        try:
            await self._permit(name, domain, ordered, now)
            outcome = "allowed"
        except Exhausted:
            outcome = "too many"
            raise
        except Refused:
            outcome = "refused"
            raise
        finally:
            self.decided[outcome] += 1

    async def refusal(self, name: str, domain: Domain) -> str | None:
        """Give why the domain's URL lets a name have no certificate; None where it does, or is not asked."""
        if not domain.on_demand or domain.ask is None:
            return None
        await self._asker.learn(domain.ask, name)
        try:
            self._asker.said(domain.ask, name)
        except (Refused, Unavailable) as error:
            return str(error)
        return None

    async def confirm(self, name: str, domain: Domain | None) -> None:
        """Raise Refused where a name that is to be renewed may not have a certificate any more; whoever does
        not answer stops no renewal.
        """
        if domain is None or domain.ask is None:
            return
        await self._asker.learn(domain.ask, name)
        with suppress(Unavailable):
            self._asker.said(domain.ask, name)

    async def _permit(self, name: str, domain: Domain, ordered: bool, now: float) -> None:
        if domain.ask is not None:
            self._asker.said(domain.ask, name)
        if not domain.many:
            return
        wanted = domain.project, name
        if 0 <= self._allowed.get(wanted, 0.0) - now <= _ALLOWED_SECONDS:
            return
        await self._ledger.take(self._purses(domain, ordered), now)
        self._allowed[wanted] = now + _ALLOWED_SECONDS
        self._allowed.move_to_end(wanted)
        if len(self._allowed) > _MOST_REMEMBERED:
            self._allowed.popitem(last=False)

    def _purses(self, domain: Domain, ordered: bool) -> dict[Purse, int]:
        limits = self._limits()
        each = limits.each_ordering_domain if ordered else limits.each_domain
        return {
            Purse("domain", domain.name): domain.new_names or each,
            Purse("project", domain.project): limits.each_project,
            Purse("all", ""): limits.in_all,
        }

    async def close(self) -> None:
        await self._asker.close()
