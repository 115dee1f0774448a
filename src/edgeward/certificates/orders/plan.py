"""Which waiting orders begin now, and with which authority: decisions on rows, limits and health alone.

An order falls back to the next issuer where its own is down or paused, or could not take it for minutes. It
does not where all of its issuer's places are taken: these become free.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from edgeward.certificates.model import AcmeIssuer, Issuer, Limit
from edgeward.certificates.orders.limits import Book, Charge, Costs, costs, share
from edgeward.certificates.orders.model import Queued, Rank
from edgeward.certificates.policy import Ordering

MOST_AT_ONCE: Final = 100
_BULK_SHARE: Final = 3 / 4
"""Of the places: the rest is for visitors and for what ends soon."""
_WORTH_WAITING: Final = 60.0
_LOOK_AGAIN: Final = 5.0
_OUTAGE: Final = 3
"""So many failures to answer, one after the other, are the authority's own."""
_NO_ACCOUNT: Final = 60.0
_SHORTEST_OUTAGE, _LONGEST_OUTAGE = 30.0, 600.0


@dataclass(frozen=True)
class Begin:
    """Work on it now; ``planned`` is None for our own authority, which has no limits."""

    queued: Queued
    names: tuple[str, ...]
    chain: tuple[Issuer, ...]
    issuer: Issuer
    planned: Costs | None
    replaces: str | None = None


@dataclass(frozen=True)
class Later:
    """It cannot begin before ``until``."""

    queued: Queued
    until: float
    problem: str


@dataclass(frozen=True)
class Bar:
    """Nothing of this issuer begins before ``until``, or before something of it ends."""

    queued: Queued
    until: float


@dataclass(frozen=True)
class Replaced:
    """The certificate an order takes the place of: who issued it, and when its authority suggests that."""

    project: str
    issuer: str
    identifier: str | None
    """Of RFC 9773, 4.1; None where it cannot have one."""
    window_start: float | None
    window_end: float | None

    def by(self, issuer: Issuer) -> bool:
        """Whether this authority is told what is replaced: it issued that, and suggests when."""
        ours = (self.project, self.issuer) == (issuer.project, issuer.name)
        return ours and self.identifier is not None and self.window_start is not None

    def suggested(self, now: float) -> bool:
        start, end = self.window_start, self.window_end
        return start is not None and end is not None and start < now < end


@dataclass(frozen=True)
class Candidate:
    """An order that may begin: how it waits, what it is worth, and how its domain has it now."""

    queued: Queued
    rank: Rank
    ordering: Ordering
    replaced: Replaced | None = None

    def begin(self, issuer: Issuer, planned: Costs | None, replaces: str | None = None) -> Begin:
        return Begin(self.queued, self.ordering.names, self.ordering.chain, issuer, planned, replaces)


class _Wait(NamedTuple):
    """Until when an order waits for one issuer, and for what."""

    until: float
    problem: str
    whole: bool = False
    """All of this issuer's wait so."""
    worth_it: bool = False
    """No issuer behind it is turned to meanwhile."""


@dataclass
class Health:
    """How an authority answers: after some failures it is asked ever more rarely, by one order at a time."""

    failures: int = 0
    until: float = 0.0

    def answered(self) -> None:
        self.failures, self.until = 0, 0.0

    def failed(self, now: float) -> None:
        self.failures += 1
        if self.failures >= _OUTAGE:
            doubled = _SHORTEST_OUTAGE * 2 ** min(self.failures - _OUTAGE, 10)
            self.until = now + min(doubled, _LONGEST_OUTAGE)

    @property
    def ill(self) -> bool:
        return self.failures >= _OUTAGE


@dataclass
class Plan:
    """What is under way and what is known of authorities, for as long as one controller plans.

    ``accounts`` gives what an authority counts our orders under, by project and issuer; who is missing there
    is asked for it first (``unknown``).
    """

    book: Book
    accounts: dict[tuple[str, str, str], str] = field(default_factory=dict)
    unknown: dict[tuple[str, str, str], Issuer] = field(default_factory=dict)
    no_account: dict[tuple[str, str, str], tuple[float, str]] = field(default_factory=dict)
    running: Counter[str] = field(default_factory=Counter)
    health: dict[str, Health] = field(default_factory=lambda: defaultdict(Health))
    _put_off: dict[Charge, list[float]] = field(default_factory=lambda: defaultdict(list))

    def decide(self, order: Candidate, now: float) -> Begin | Later | Bar:
        """Say what is done with an order, as its domain has it now."""
        waits: list[_Wait] = []
        for issuer in _from(order.ordering.chain, order.queued):
            found = self._tried(order, issuer, now)
            if isinstance(found, Begin):
                return found
            waits.append(found)
            if found.worth_it:
                break
        wait = min(waits, default=_Wait(now + _LOOK_AGAIN, "no issuer is left", whole=True))
        return Bar(order.queued, wait.until) if wait.whole else Later(order.queued, wait.until, wait.problem)

    def _tried(self, order: Candidate, issuer: Issuer, now: float) -> Begin | _Wait:
        """Begin with this issuer, or say what keeps it from that."""
        if issuer.acme is None:
            return order.begin(issuer, None)
        full = self._full(issuer.acme, order.rank, now)
        if full is not None:
            ill = self.health[issuer.acme.directory].ill
            return _Wait(full, "waits for its turn", whole=True, worth_it=not ill)
        key = account_key(issuer)
        until, problem = self.no_account.get(key, (now, ""))
        if until > now:
            return _Wait(until, f"no account at {issuer.name}: {problem}", whole=True)
        account = self.accounts.get(key)
        if account is None:
            self.unknown[key] = issuer
            said = f"waits for an account at {issuer.name}"
            return _Wait(now + _LOOK_AGAIN, said, whole=True, worth_it=True)
        return self._within_limits(order, issuer, account, now)

    def _within_limits(self, order: Candidate, issuer: Issuer, account: str, now: float) -> Begin | _Wait:
        ours = order.replaced if order.replaced is not None and order.replaced.by(issuer) else None
        exempt = ours is not None and ours.suggested(now)
        resumed = order.queued.url is not None and order.queued.authority == issuer.name
        planned = costs(issuer.theirs, account, order.ordering.names, exempt=exempt, resumed=resumed)
        wait = self._wait(planned, order.rank, now)
        if wait is None:
            return order.begin(issuer, planned, ours.identifier if ours is not None else None)
        return wait._replace(worth_it=wait.until - now <= _WORTH_WAITING)

    def begun(self, begin: Begin) -> None:
        if begin.issuer.acme is not None:
            self.running[begin.issuer.acme.directory] += 1

    def ended(self, begin: Begin) -> None:
        if begin.issuer.acme is not None:
            self.running[begin.issuer.acme.directory] -= 1

    def unreachable(self, issuer: Issuer, now: float) -> None:
        if issuer.acme is not None:
            self.health[issuer.acme.directory].failed(now)

    def answered(self, issuer: Issuer) -> None:
        if issuer.acme is not None:
            self.health[issuer.acme.directory].answered()

    def refused_account(self, issuer: Issuer, problem: str, now: float) -> None:
        """Put down that an authority gives no account: its orders wait, or fall back."""
        if issuer.acme is not None:
            self.no_account[account_key(issuer)] = (now + _NO_ACCOUNT, problem)

    def forget(self, now: float, longest: float) -> None:
        """Drop what bears on nothing any more."""
        self.book.forget(now, longest)
        for charge in [c for c, promised in self._put_off.items() if not promised or promised[-1] <= now]:
            del self._put_off[charge]

    def _full(self, acme: AcmeIssuer, rank: Rank, now: float) -> float | None:
        """Give when to look again where this authority has no place, or does not answer."""
        health, running = self.health[acme.directory], self.running[acme.directory]
        if health.ill and (health.until > now or running):
            return max(health.until, now + _LOOK_AGAIN)
        places = min(acme.parallel, MOST_AT_ONCE - sum(self.running.values()) + running)
        if rank == "bulk":
            places = min(places, max(1, int(acme.parallel * _BULK_SHARE)))
        places = max(places, 1)  # who fills all places with a slow authority keeps nobody else's from working
        return now + _LOOK_AGAIN if running >= places else None

    def _wait(self, planned: Costs, rank: Rank, now: float) -> _Wait | None:
        until, charge = self.book.paused(planned, now)
        if charge is not None:
            whole = charge.scope in ("account", "orders")
            return _Wait(until, f"the authority asked us to wait{_of(charge)}", whole)
        found = self.book.earliest(planned, now, bulk=rank == "bulk")
        if found is None:
            return None
        until, charge = found
        if charge.scope == "orders":
            return _Wait(until, "waits for the limit of new orders", whole=True)
        if rank == "bulk":
            until = self._behind(charge, planned.limits[charge], until, now)
        return _Wait(until, f"waits for the authority's limit{_of(charge)}")

    def _behind(self, charge: Charge, limit: Limit, until: float, now: float) -> float:
        """Put off behind those that were put off before: else all would come back at once, for one place."""
        promised = self._put_off[charge]
        del promised[: bisect_right(promised, now)]
        later = until + len(promised) // share(charge, limit, bulk=True) * limit.seconds
        insort(promised, later)
        return later


def account_key(issuer: Issuer) -> tuple[str, str, str]:
    return issuer.project, issuer.name, issuer.acme.directory if issuer.acme is not None else ""


def _from(chain: Sequence[Issuer], queued: Queued) -> Sequence[Issuer]:
    """Give the issuers from the one that is tried now on; an order that is there is gone on with."""
    at = next((i for i, issuer in enumerate(chain) if issuer.name == queued.authority), 0)
    return chain[at : at + 1] if queued.url is not None else chain[at:]


def _of(charge: Charge) -> str:
    return f" for {charge.key}" if charge.key else ""
