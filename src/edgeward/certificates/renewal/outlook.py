"""The outlook on all renewals: when each will be ordered as limits are now, and which would come too late."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates.model import IMPORTED, ORDERED, AcmeIssuer, Issuer, Limit
from edgeward.certificates.orders.limits import registered_domain
from edgeward.database.schema import certificates

_AT_ONCE: Final = 10_000
_EXEMPT: Final = -1
_SUFFIX: Final = -2
_columns = certificates.c


@dataclass(frozen=True)
class Outlook:
    """``finish``: when the last will be ordered (Unix seconds). ``late``: will be ordered after their end."""

    renewals: int
    finish: float | None
    late: int


class _Ring:
    """A limit, and when it was used last, as often as it allows."""

    __slots__ = ("_next", "_seconds", "_used")

    def __init__(self, limit: Limit | None, most: int) -> None:
        """``most``: how often it will be used at all."""
        self._used = array("d", [float("-inf")]) * (min(limit.most, most) if limit is not None else 1)
        self._seconds = limit.seconds if limit is not None else 0.0
        self._next = 0

    def used(self, at: float) -> float:
        """Use it once, and give when: ``at``, or later."""
        place = self._next
        free = self._used[place] + self._seconds
        if free > at:
            at = free
        self._used[place] = at
        self._next = place + 1 if place + 1 < len(self._used) else 0
        return at


class Renewals:
    """All certificates of one issuer, in columns: a million of them are to be planned in little memory."""

    def __init__(self) -> None:
        self._due = array("d")
        self._ends = array("d")
        self._domain = array("q")
        """Number of the registered domain; _EXEMPT where it counts against no limit."""
        self._numbers: dict[str, int] = {}
        self._looked_at: set[str] = set()

    def __len__(self) -> int:
        return len(self._due)

    def add(self, name: str, due: float, ends: float, *, exempt: bool) -> None:
        self._due.append(due)
        self._ends.append(ends)
        self._domain.append(_EXEMPT if exempt else self._number(name))

    def _number(self, name: str) -> int:
        """Give the number of its registered domain. Suffixes below such a domain are passed over, for speed:
        their names count as one domain's, and so come later here than they will. The first name below a
        public suffix like ``co.uk`` counts by itself.
        """
        numbers, end = self._numbers, name[name.rfind(".", 0, name.rfind(".")) + 1 :]
        found = numbers.get(end)
        if found is None:
            numbers[end] = number = len(numbers)
            return number  # looked at closely once a second one is there
        if found != _SUFFIX:
            if end in self._looked_at or registered_domain(f"x.{end}") == end:
                self._looked_at.add(end)
                return found
            numbers[end] = _SUFFIX
        return numbers.setdefault(registered_domain(name), len(numbers))

    def planned(self, acme: AcmeIssuer, now: float) -> tuple[float, int]:
        """Give when the last will be ordered, and how many come after their end."""
        limits, ends, domain, due = acme.limits, self._ends, self._domain, self._due
        orders = _Ring(limits.orders, len(due) + 1)
        often = self._often(limits.domain)
        domains = {whose: _Ring(limits.domain, len(due) + 1) for whose in often}
        finish, late = now, 0
        for i in sorted(range(len(due)), key=due.__getitem__):
            at, whose = due[i], domain[i]
            if at < now:
                at = now
            if whose != _EXEMPT:
                if whose in often:
                    at = domains[whose].used(at)
                at = orders.used(at)
            if at > ends[i]:
                late += 1
            if at > finish:
                finish = at
        return finish, late

    def _often(self, limit: Limit | None) -> set[int]:
        """Give the domains with more certificates than their limit: no other is ever stopped by it."""
        if limit is None:
            return set()
        counted = [0] * len(self._numbers)
        for whose in self._domain:
            if whose != _EXEMPT:
                counted[whose] += 1
        return {whose for whose, number in enumerate(counted) if number > limit.most}


async def outlook(
    connection: AsyncConnection, issuer: Callable[[str, str], Issuer | None], now: float
) -> Outlook:
    """Plan every certificate that other authorities issued."""
    number, late, finish = 0, 0, now
    for whose, renewals in (await _read(connection)).items():
        declared = issuer(*whose)
        if declared is not None and declared.acme is not None:
            end, too_late = await asyncio.to_thread(renewals.planned, declared.acme, now)
            number, late, finish = number + len(renewals), late + too_late, max(finish, end)
    return Outlook(number, finish if number else None, late)


async def _read(connection: AsyncConnection) -> dict[tuple[str, str], Renewals]:
    found: dict[tuple[str, str], Renewals] = {}
    wanted: tuple[Any, ...] = (_columns.name, _columns.renew_at, _columns.not_after, _columns.window_start)
    query = select(*wanted, _columns.project, _columns.issuer)
    query = query.where(_columns.source.in_((ORDERED, IMPORTED)), _columns.leader.is_(None))
    rows: Any = await connection.stream(query.where(_columns.algorithm == "ecdsa"))
    async for page in rows.partitions(_AT_ONCE):
        for name, due, ends, window, project, whose in page:
            place = project, whose
            renewals = found.get(place)
            if renewals is None:
                renewals = found[place] = Renewals()
            renewals.add(name, due, ends, exempt=window is not None)
    return found
