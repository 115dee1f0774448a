"""What DNS said of the backend's name, for how long it holds, and in what order to try; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from edgeward.relay.place import Address

if TYPE_CHECKING:
    import random

MOST_ADDRESSES: Final = 64
_AVOID_SECONDS: Final = 10.0
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.25, 30.0


class Server(NamedTuple):
    """The addresses of one host; priority and weight as in its SRV record, RFC 2782."""

    addresses: tuple[Address, ...]
    priority: int = 0
    weight: int = 0


class Answer(NamedTuple):
    """``ttl`` is in seconds, the smallest of all records that led here."""

    servers: tuple[Server, ...]
    ttl: float

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(chain.from_iterable(server.addresses for server in self.servers))


class Book:
    """The last good answer, which is used until a better one comes, however long that takes."""

    def __init__(self, least_ttl: float, most_ttl: float) -> None:
        self._least_ttl, self._most_ttl = least_ttl, most_ttl
        self.answer: Answer | None = None
        self.answered_at = 0.0
        self.failures = 0
        self.failing = ""
        self._failed_in_turn = 0
        self._avoided: dict[Address, float] = {}

    def take(self, answer: Answer, now: float) -> float:
        """Keep an answer; gives after how many seconds to ask again."""
        self.answer, self.answered_at = answer, now
        self.failing, self._failed_in_turn = "", 0
        here = set(answer.addresses)
        self._avoided = {address: until for address, until in self._avoided.items() if address in here}
        return min(max(answer.ttl, self._least_ttl), self._most_ttl)

    def take_failure(self, reason: str) -> float:
        """Count a failure; gives after how many seconds to ask again: soon at first, then ever less often."""
        self.failures += 1
        self.failing = reason
        seconds = _FIRST_RETRY_SECONDS * float(2 ** min(self._failed_in_turn, 10))
        self._failed_in_turn += 1
        return min(seconds, _LAST_RETRY_SECONDS, max(self._most_ttl, _FIRST_RETRY_SECONDS))

    def age(self, now: float) -> float | None:
        return None if self.answer is None else now - self.answered_at

    def avoid(self, addresses: Iterable[Address], now: float) -> None:
        """Try these last for a while: they did not answer, or too late."""
        for address in addresses:
            self._avoided[address] = now + _AVOID_SECONDS

    def order(self, now: float, chance: random.Random) -> Sequence[Address]:
        """Give the addresses for one connection; () where there has been no answer yet."""
        if self.answer is None:
            return ()
        servers = self.answer.servers
        if len(servers) == 1 and not self._avoided:
            return servers[0].addresses
        found = [a for server in arranged(servers, chance) for a in server.addresses]
        if self._avoided:
            self._avoided = {address: until for address, until in self._avoided.items() if until > now}
            found.sort(key=self._avoided.__contains__)
        return found


def interleaved(addresses: Iterable[Address]) -> tuple[Address, ...]:
    """Let the families take turns, beginning with that of the first (RFC 8305 section 4)."""
    every = list(dict.fromkeys(addresses))[:MOST_ADDRESSES]
    if not every:
        return ()
    first = [a for a in every if a.family == every[0].family]
    others = [a for a in every if a.family != every[0].family]
    return tuple(a for pair in zip_longest(first, others) for a in pair if a is not None)


def arranged(servers: Sequence[Server], chance: random.Random) -> list[Server]:
    """Order by priority, and by chance among equals: twice the weight, twice as often first (RFC 2782)."""
    found: list[Server] = []
    for priority in sorted({server.priority for server in servers}):
        left = sorted((s for s in servers if s.priority == priority), key=lambda server: server.weight)
        while left:
            point = chance.uniform(0, sum(server.weight for server in left))
            for index, server in enumerate(left):
                point -= server.weight
                if point <= 0 or index == len(left) - 1:
                    found.append(left.pop(index))
                    break
    return found
