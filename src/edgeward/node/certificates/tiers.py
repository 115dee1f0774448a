"""Where a certificate is looked for on this node: memory, sealed disk, and the names known not to be had."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from edgeward.certificates.model import Cache
from edgeward.domain_name import wildcard_of
from edgeward.node.certificates.secrets import Kept
from edgeward.node.state import Touched

_MOST_REFUSED = 10_000
_ROUNDING = 1.0


class Disk(Protocol):
    """What a lookup needs of the sealed copy."""

    def find(self, names: Sequence[str], now: float) -> Kept | None: ...


@dataclass(slots=True)
class Counts:
    hits: int = 0
    misses: int = 0
    evictions: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    kept: Kept
    tier: Literal["memory", "disk"]


class Tiers:
    """Lookups by canonical name; ``now`` is in Unix seconds. Nothing here waits."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._bounds = Cache()
        self._memory: OrderedDict[str, tuple[float, Kept]] = OrderedDict()
        self._misses: OrderedDict[str, float] = OrderedDict()
        self._refused: OrderedDict[str, str] = OrderedDict()
        self.memory, self.disk, self.missed = Counts(), Counts(), Counts()

    def find(self, name: str, now: float) -> Found | None:
        """Give the valid certificate for a name, exact before wildcard, from the nearest tier."""
        remembered = self._memory.get(name)
        if remembered is not None:
            until, kept = remembered
            if self._remembers(until, now) and now < kept.not_after:
                self._memory.move_to_end(name)
                self.memory.hits += 1
                return Found(kept, "memory")
            del self._memory[name]
        self.memory.misses += 1
        found = self._disk.find(names_for(name), now)
        if found is None or found.digest in self._refused:
            self.disk.misses += 1
            return None
        self.disk.hits += 1
        self.remember(name, found, now)
        return Found(found, "disk")

    def remember(self, name: str, kept: Kept, now: float) -> None:
        """Keep a certificate in memory for a name."""
        if self._bounds.memory == 0 or kept.digest in self._refused:
            return
        self._memory[name] = (now + self._bounds.memory_seconds, kept)
        self._memory.move_to_end(name)
        while len(self._memory) > self._bounds.memory:
            self._memory.popitem(last=False)
            self.memory.evictions += 1

    def is_miss(self, name: str, now: float) -> bool:
        """Tell whether a name was found not to be had a moment ago."""
        until = self._misses.get(name)
        if until is not None and self._misses_still(until, now):
            self.missed.hits += 1
            return True
        self.missed.misses += 1
        if until is not None:
            del self._misses[name]
        return False

    def miss(self, name: str, now: float, seconds: float | None = None) -> None:
        """Remember that a name is not to be had, for ``seconds`` at most."""
        keep = self._bounds.miss_seconds if seconds is None else min(seconds, self._bounds.miss_seconds)
        if self._bounds.misses == 0 or keep == 0:
            return
        self._misses[name] = now + keep
        self._misses.move_to_end(name)
        while len(self._misses) > self._bounds.misses:
            self._misses.popitem(last=False)
            self.missed.evictions += 1

    def refuse(self, digest: str, reason: str) -> None:
        """Serve a certificate no more, whatever tier it is in: Envoy would not take it."""
        self._refused[digest] = reason
        for name in [n for n, (_, kept) in self._memory.items() if kept.digest == digest]:
            del self._memory[name]
        while len(self._refused) > _MOST_REFUSED:
            self._refused.popitem(last=False)

    def refused(self, digest: str) -> bool:
        return digest in self._refused

    def invalidate(self, touched: Touched) -> None:
        """Forget what a change makes doubtful, hits and misses alike."""
        if touched.everything or "*" in touched.expired:
            self._memory.clear()
            self._misses.clear()
            return
        exact = touched.names | {n for n in touched.expired if not n.startswith("*.")}
        suffixes = touched.suffixes | {n for n in touched.expired if n.startswith("*.")}
        for tier in (self._memory, self._misses):
            for name in exact:
                tier.pop(name, None)
            if suffixes:
                for name in [n for n in tier if wildcard_of(n) in suffixes]:
                    del tier[name]

    def resize(self, bounds: Cache) -> None:
        """Take new bounds and durations; they hold at once, also for what is there."""
        shorter = bounds.memory_seconds < self._bounds.memory_seconds
        self._bounds = bounds
        if shorter or bounds.memory == 0:
            self._memory.clear()
        self._misses.clear()
        while len(self._memory) > bounds.memory:
            self._memory.popitem(last=False)

    def where(self, name: str, now: float) -> tuple[Literal["memory", "disk", "missed", "none"], Kept | None]:
        """Say which tier would answer for a name, without moving or counting anything."""
        until, kept = self._memory.get(name, (0.0, None))
        if kept is not None and self._remembers(until, now) and now < kept.not_after:
            return "memory", kept
        found = self._disk.find(names_for(name), now)
        if found is not None and found.digest not in self._refused:
            return "disk", found
        return ("missed" if self._misses_still(self._misses.get(name, 0.0), now) else "none"), None

    # a clock that was put back must not make any of it last for longer than it would anyway

    def _remembers(self, until: float, now: float) -> bool:
        return 0 < until - now < self._bounds.memory_seconds + _ROUNDING

    def _misses_still(self, until: float, now: float) -> bool:
        return 0 < until - now < self._bounds.miss_seconds + _ROUNDING

    @property
    def memory_size(self) -> int:
        return len(self._memory)

    @property
    def misses_size(self) -> int:
        return len(self._misses)


def names_for(name: str) -> tuple[str, ...]:
    """Give what a name's certificate may be kept under: the name, then its wildcard."""
    wildcard = wildcard_of(name)
    return (name,) if wildcard is None else (name, wildcard)
