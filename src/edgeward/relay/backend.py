"""Where the backend is at any moment: at a given address, or where DNS says, asked in the background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Protocol

from edgeward.relay.connecting import Connecting
from edgeward.relay.lines import Seldom, say
from edgeward.relay.loop import Loop, Timer
from edgeward.relay.names import Answer, Book
from edgeward.relay.place import Address, Name

_SAY_SECONDS: Final = 60
_HURRY_SECONDS: Final = 0.25


class Asks(Protocol):
    """What asks DNS; ``resolver.Resolver`` outside of tests."""

    def ask(self, name: Name, told: Callable[[Answer | str], None]) -> None: ...


class Fixed:
    """A backend that never moves."""

    def __init__(self, address: Address) -> None:
        self.addresses: Sequence[Address] = (address,)

    def start(self) -> None:
        """Nothing is to be asked."""

    def connect(self, connecting: Connecting) -> None:
        connecting.start(self.addresses)

    def slow(self, _address: Address, _tried: Sequence[Address]) -> None:
        """There is no other."""


class Named:
    """A backend that is where DNS says; connections never wait for DNS but before its first answer."""

    def __init__(self, name: Name, book: Book, resolver: Asks, loop: Loop) -> None:
        self.name, self.book = name, book
        self._resolver, self._loop = resolver, loop
        self._waiting: list[Connecting] = []
        self._again: Timer | None = None
        """What has DNS asked again; None while it is asked."""
        self._asked_at = 0.0
        import random  # which a backend at an address can do without

        self._chance = random.Random()  # noqa: S311 - spreads load
        self._seldom = Seldom(_SAY_SECONDS)

    @property
    def addresses(self) -> Sequence[Address]:
        return self.book.answer.addresses if self.book.answer else ()

    def start(self) -> None:
        self._again, self._asked_at = None, monotonic()
        self._resolver.ask(self.name, self._told)

    def connect(self, connecting: Connecting) -> None:
        order = self.book.order(monotonic(), self._chance)
        if order:
            connecting.start(order)
        else:
            connecting.wait(self._why_not())
            self._waiting.append(connecting)
            self._hurry()

    def _hurry(self) -> None:
        """Ask DNS soon and not when its turn is: somebody waits, and a tunnel to it may just have come up."""
        if self._again is not None:
            self._again.cancel()
            left = self._asked_at + _HURRY_SECONDS - monotonic()
            self._again = self._loop.later(max(0.0, left), self.start)

    def slow(self, address: Address, tried: Sequence[Address]) -> None:
        """Hear that ``address`` answered while others that were tried before it did not."""
        self.book.avoid((other for other in tried if other != address), monotonic())

    def _told(self, answer: Answer | str) -> None:
        if isinstance(answer, str):
            seconds = self._failed(answer)
            soon = min(seconds, _HURRY_SECONDS) if self._waiting else seconds
            self._again = self._loop.later(soon, self.start)
        else:
            self._again = self._loop.later(self._answered(answer), self.start)

    def _failed(self, reason: str) -> float:
        seconds = self.book.take_failure(reason)
        using = [str(address) for address in self.addresses]
        self._seldom.say("warning", "DNS fails", reason, name=str(self.name), reason=reason, using=using)
        self._waiting = [connecting for connecting in self._waiting if not connecting.over]
        for connecting in self._waiting:
            connecting.wait(self._why_not())
        return seconds

    def _why_not(self) -> str:
        return f"{self.name} has no address yet: {self.book.failing or 'DNS has not answered'}"

    def _answered(self, answer: Answer) -> float:
        before, failing = set(self.addresses), self.book.failing
        seconds = self.book.take(answer, monotonic())
        if failing or set(self.addresses) != before:
            now = [str(address) for address in self.addresses]
            say("info", "addresses", name=str(self.name), addresses=now, seconds=answer.ttl)
        waiting, self._waiting = self._waiting, []
        for connecting in waiting:
            if not connecting.over:
                self.connect(connecting)
        return seconds
