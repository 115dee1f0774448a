"""What stands in Redis: entries and the head, sealed, bound to their place, and worth nothing without it.

The head says up to which revision of the store everything below its ``epoch`` is true, and as of when.
Whoever fills Redis writes it again and again; entries count only beside a head that is fresh. So what could
not be taken out of Redis, as it was away then, is not believed when it comes back.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from edgeward.errors import Invalid
from edgeward.placement import EVERYWHERE, Where
from edgeward.sealing import Seal

FRESH_SECONDS: Final = 0.8
"""Age at which a head is not believed any more. Clocks that differ by as much make nodes do without Redis."""
MISS_SECONDS: Final = 1.0
"""A miss is not withdrawn when its name may be had: it is never older than this."""


@dataclass(frozen=True)
class Head:
    epoch: str
    """Part of the names of all entries; another one where Redis was filled from nothing."""
    revision: int
    at: float
    """When the store was looked at, in Unix seconds of who fills."""
    token: int
    """Of the lease of who fills: one that was slow does not write over its successor."""

    def fresh(self, now: float) -> bool:
        return abs(now - self.at) <= FRESH_SECONDS


@dataclass(frozen=True)
class Entry:
    """A certificate, or (``value`` None) that there is none; true as of ``revision``.

    ``value`` is as in the feed: chain, key, not_after and so on.
    """

    project: str
    revision: int
    value: dict[str, Any] | None

    def __repr__(self) -> str:
        return f"Entry(project={self.project!r}, revision={self.revision})"


class Names:
    """The names of everything in Redis, for one store; they tell it from others in the same Redis."""

    def __init__(self, store: str) -> None:
        self._prefix = f"edgeward:{store}"

    @property
    def head(self) -> str:
        return f"{self._prefix}:head"

    def entry(self, epoch: str, name: str) -> str:
        return f"{self._prefix}:{epoch}:{name}"

    def miss(self, epoch: str, name: str) -> str:
        return f"{self._prefix}:{epoch}:-{name}"  # no domain name begins with a hyphen


def group_key(seal: Seal, where: Where) -> bytes:
    """Give the key of what may be served in these places: nodes get those of the places they are in."""
    places = sorted(sorted([key, sorted(values)] for key, values in each) for each in where)
    return seal.derived("redis tier: " + json.dumps(places, separators=(",", ":")))


def head_key(seal: Seal) -> bytes:
    """Give the key of the head, which every node has."""
    return group_key(seal, EVERYWHERE)


def sealed(thing: Head | Entry, key: bytes, place: str) -> bytes:
    return Seal(key).seal(json.dumps(asdict(thing), separators=(",", ":")).encode(), place)


def head_of(record: bytes, seal: Seal, place: str) -> Head:
    """Read a head; raises Invalid for anything that is not ours, or of another place."""
    try:
        return Head(**json.loads(seal.open(record, place)))
    except (ValueError, TypeError) as error:
        raise Invalid(f"{place} is no head") from error


def entry_of(record: bytes, seal: Seal, place: str) -> Entry:
    """Read an entry; raises Invalid for anything that is not ours, or of another place."""
    try:
        return Entry(**json.loads(seal.open(record, place)))
    except (ValueError, TypeError) as error:
        raise Invalid(f"{place} is no entry") from error
