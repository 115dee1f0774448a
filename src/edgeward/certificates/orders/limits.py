"""What an authority allows so often: a pure model that never lets us ask for more, whatever comes when.

Authorities refill their buckets bit by bit (Let's Encrypt: "the ability to request new certificates refills
at a rate of…"). A window that slides and never holds more than the bucket does is below that at every moment.
What is under way counts as if it happened now, until it has ended: when the authority counts it lies between.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from publicsuffixlist import PublicSuffixList

from edgeward.certificates.model import AcmeIssuer, Issuer, Limit, Limits
from edgeward.certificates.orders.fulfilment import Scope

CLOCKS_APART: Final = 60.0
"""Seconds that a window is longer for us than for the authority, whose clock is not ours."""
LONGEST_PAUSE: Final = 7 * 86400.0
_KEPT_ANYWAY: Final = 31 * 86400.0
"""An issuer may be declared with a longer window than it had."""
_BULK_SHARE: Final = 0.8
"""What may not use up a limit by itself: visitors come in between."""
_ALL: Final = ""


@dataclass(frozen=True, order=True)
class Charge:
    """One thing an authority counts: under which account, or of itself, in which scope, of whom."""

    account: str
    scope: Scope
    key: str = _ALL


@dataclass(frozen=True)
class Spent:
    """A charge as it is kept: for which order, and when, or since when it is under way."""

    charge: Charge
    name: str
    at: float
    pending: bool


@dataclass(frozen=True)
class Costs:
    """What one order would use, and the limits of that."""

    limits: Mapping[Charge, Limit]
    pausing: tuple[Charge, ...]
    """What its authority may have paused."""

    @property
    def charges(self) -> Sequence[Charge]:
        return tuple(self.limits)


def costs(issuer: AcmeIssuer, account: str, names: Sequence[str], *, exempt: bool, resumed: bool) -> Costs:
    """Say what an order for these names uses.

    ``exempt``: it takes a certificate's place within the window its authority suggested, which counts
    against nothing but failures (RFC 9773, and Let's Encrypt's own words). ``resumed``: the order is there.
    """
    limits, directory = issuer.limits, issuer.directory
    used: dict[Charge, Limit] = {}

    def use(limit: Limit | None, account: str, scope: Scope, keys: Iterable[str]) -> None:
        if limit is not None:
            used.update((Charge(account, scope, key), limit) for key in keys)

    domains = {registered_domain(name) for name in names}
    exact = exact_set(names)
    if not exempt:
        if not resumed:
            use(limits.orders, account, "orders", [_ALL])
        use(limits.domain, directory, "domain", sorted(domains))
        use(limits.exact, directory, "exact", [exact])
    identifiers = sorted({name.removeprefix("*.") for name in names})
    use(limits.failures, account, "failures", identifiers)
    pausing = [Charge(account, "account")]
    if not resumed:
        pausing.append(Charge(account, "orders"))
        pausing += [Charge(directory, "domain", domain) for domain in sorted(domains)]
        pausing.append(Charge(directory, "exact", exact))
    pausing += [Charge(account, "failures", identifier) for identifier in identifiers]
    return Costs(used, tuple(pausing))


def longest_window(issuers: Iterable[Issuer]) -> float:
    """Give after how many seconds nothing that was spent counts any more."""
    limits = [issuer.acme.limits for issuer in issuers if issuer.acme is not None]
    windows = [limit.seconds for each in limits for limit in _each(each) if limit is not None]
    return max([_KEPT_ANYWAY, *windows]) + CLOCKS_APART


def _each(limits: Limits) -> tuple[Limit | None, ...]:
    return limits.orders, limits.domain, limits.exact, limits.failures


def paused_by(scope: Scope, key: str, planned: Costs) -> list[Charge]:
    """Give what a refusal of this scope pauses: what it names, else all that the order uses of that scope."""
    scoped = [charge for charge in planned.pausing if charge.scope == scope]
    named = [charge for charge in scoped if charge.key == key]
    return named or scoped or [charge for charge in planned.pausing if charge.scope == "account"]


def share(charge: Charge, limit: Limit, *, bulk: bool) -> int:
    """Give how much of a limit may be used: bulk leaves some of it to visitors."""
    return (
        math.ceil(limit.most * _BULK_SHARE) if bulk and charge.scope in ("orders", "domain") else limit.most
    )


class Book:
    """What was spent and what is paused: the state of all limits of all authorities."""

    def __init__(self, spent: Iterable[Spent] = (), pauses: Mapping[Charge, float] | None = None) -> None:
        self._at: dict[Charge, list[float]] = defaultdict(list)
        self._pending: dict[Charge, set[str]] = defaultdict(set)
        self._pauses = dict(pauses or {})
        for one in spent:
            if one.pending:
                self._pending[one.charge].add(one.name)
            else:
                insort(self._at[one.charge], one.at)

    def earliest(self, planned: Costs, now: float, *, bulk: bool = False) -> tuple[float, Charge] | None:
        """Give None where the order may begin now, else a time at which to ask again, and what is used up."""
        found = [(self._free(c, limit, now, bulk=bulk), c) for c, limit in planned.limits.items()]
        later = [(at, charge) for at, charge in found if at > now]
        return max(later, default=None)

    def paused(self, planned: Costs, now: float) -> tuple[float, Charge | None]:
        """Give until when something it needs is paused, and what."""
        found = [(self._pauses[c], c) for c in planned.pausing if self._pauses.get(c, now) > now]
        return max(found, default=(now, None), key=lambda one: one[0])

    def begin(self, charges: Iterable[Charge], name: str) -> None:
        """Count as being under way; an order is so once at a time."""
        for charge in charges:
            self._pending[charge].add(name)

    def settle(self, charges: Iterable[Charge], name: str, kept: Collection[Charge], now: float) -> None:
        """End what is under way: what was used counts from now on, the rest never happened."""
        for charge in charges:
            pending = self._pending.get(charge, set())
            if name in pending and charge in kept:
                insort(self._at[charge], now)
            pending.discard(name)
            if not pending:
                self._pending.pop(charge, None)

    def pause(self, charge: Charge, until: float) -> None:
        self._pauses[charge] = max(until, self._pauses.get(charge, until))

    def forget(self, now: float, longest: float) -> None:
        """Drop what no window reaches back to."""
        for charge, at in list(self._at.items()):
            del at[: bisect_right(at, now - longest)]
            if not at:
                del self._at[charge]
        for charge in [c for c, until in self._pauses.items() if until <= now]:
            del self._pauses[charge]

    def _free(self, charge: Charge, limit: Limit, now: float, *, bulk: bool) -> float:
        most = share(charge, limit, bulk=bulk)
        window = limit.seconds + CLOCKS_APART
        done = self._at.get(charge, ())
        room = most - len(self._pending.get(charge, ()))
        if room <= 0:
            return now + min(window, CLOCKS_APART)
        if len(done) < room:
            return now
        return max(now, done[-room] + window)


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


@lru_cache(maxsize=65536)
def registered_domain(name: str) -> str:
    """Give the part of a name that somebody registered, by the public suffix list; a suffix is its own."""
    exact = name.removeprefix("*.")
    return _suffixes().privatesuffix(exact) or exact


def exact_set(names: Iterable[str]) -> str:
    """Name a set of names: the only one itself, else by a digest."""
    given = sorted(set(names))
    if len(given) == 1:
        return given[0]
    return hashlib.sha256("\n".join(given).encode()).hexdigest()
