"""What one Envoy holds, and the bound on it: Envoy 1.40 itself would keep every secret it ever got."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from edgeward.node.state import Touched


@dataclass(frozen=True, slots=True)
class Resident:
    """A secret in Envoy: ``asked`` is the visitor's spelling, ``name`` the canonical one."""

    asked: str
    name: str
    not_after: float
    digest: str


class Residents:
    """Names in the order they came; canonical ones and other spellings within bounds of their own.

    Envoy does not say which secrets it uses, so the oldest goes first; one that is still visited is
    asked for again at once and is then the youngest. ``pinned`` names are never evicted.
    """

    def __init__(self, bound: int, spellings: int, pinned: frozenset[str] = frozenset()) -> None:
        self._bound = bound
        self._spellings_bound = spellings
        self._pinned = pinned
        self._canonical: OrderedDict[str, Resident] = OrderedDict()
        self._spellings: OrderedDict[str, Resident] = OrderedDict()
        self._expiries: list[tuple[float, str]] = []
        self.evicted = 0
        self.evicted_spellings = 0

    def admit(self, resident: Resident) -> list[str]:
        """Take in a secret; gives the spellings that must leave Envoy for it."""
        tier = self._tier(resident)
        tier.pop(resident.asked, None)
        tier[resident.asked] = resident
        heapq.heappush(self._expiries, (resident.not_after, resident.asked))
        if len(self._expiries) > 2 * len(self) + 64:
            self._expiries = [(r.not_after, r.asked) for r in self]
            heapq.heapify(self._expiries)
        return self._overflow()

    def _tier(self, resident: Resident) -> OrderedDict[str, Resident]:
        return self._canonical if resident.asked == resident.name else self._spellings

    def _overflow(self) -> list[str]:
        gone: list[str] = []
        for tier, bound in ((self._canonical, self._bound), (self._spellings, self._spellings_bound)):
            while len(tier) > bound:
                oldest = next((n for n in tier if n not in self._pinned), None)
                if oldest is None:
                    break
                del tier[oldest]
                gone.append(oldest)
                if tier is self._canonical:
                    self.evicted += 1
                else:
                    self.evicted_spellings += 1
        return gone

    def resize(self, bound: int, spellings: int) -> list[str]:
        """Take new bounds; gives the spellings that must leave Envoy."""
        self._bound, self._spellings_bound = bound, spellings
        return self._overflow()

    def drop(self, asked: str) -> None:
        if self._canonical.pop(asked, None) is None:
            self._spellings.pop(asked, None)

    def get(self, asked: str) -> Resident | None:
        return self._canonical.get(asked) or self._spellings.get(asked)

    def touched(self, touched: Touched) -> list[Resident]:
        """Give the residents that a change makes doubtful."""
        if touched.everything or touched.suffixes or touched.expired:
            return [r for r in self if touched.hits(r.name) or touched.expires(r.name)]
        canonical = [r for n in touched.names if (r := self._canonical.get(n)) is not None]
        return canonical + [r for r in self._spellings.values() if r.name in touched.names]

    def expired(self, now: float) -> list[Resident]:
        """Give, once each, the residents whose certificate's time is over."""
        over: dict[str, Resident] = {}
        while self._expiries and self._expiries[0][0] <= now:
            _, asked = heapq.heappop(self._expiries)
            resident = self.get(asked)
            if resident is not None and resident.not_after <= now:
                over[asked] = resident
        return list(over.values())

    def __iter__(self) -> Iterator[Resident]:
        yield from list(self._canonical.values())
        yield from list(self._spellings.values())

    def __len__(self) -> int:
        return len(self._canonical) + len(self._spellings)

    @property
    def canonical(self) -> int:
        return len(self._canonical)

    @property
    def spellings(self) -> int:
        return len(self._spellings)
