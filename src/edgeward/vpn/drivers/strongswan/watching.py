"""Hears charon: which connections may be in another state, and why those that are down are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Final

from edgeward.errors import Unavailable
from edgeward.vpn.desired import Connection
from edgeward.vpn.driver import Line
from edgeward.vpn.drivers.strongswan import reasons
from edgeward.vpn.drivers.strongswan.lines import Lines
from edgeward.vpn.drivers.strongswan.vici import Answer, Vici
from edgeward.vpn.listening import Listeners

_KINDS: Final = ("ike-updown", "child-updown", "ike-rekey", "child-rekey", "ike-update", "log")


class Watch:
    """What was heard. ``members`` gives the ids of the connections between some peers, by charon's name."""

    def __init__(
        self, vici: Vici, members: Callable[[str], Iterable[str]], known: Mapping[str, Connection]
    ) -> None:
        self._vici = vici
        self._members = members
        self._known = known
        self._reader = reasons.Reader()
        self._lines = Lines(lambda who: any(True for _ in self._of(who)))
        self._findings: dict[str, reasons.Finding] = {}
        self._marks: dict[str, float] = {}
        self._listeners = Listeners()
        self._ended = False
        self.ready = asyncio.Event()
        self.went: Callable[[Iterable[str]], None] = lambda ids: None
        """Called with the ids of what went down."""

    async def run(self) -> None:
        """Hear until charon ends, then end all who follow."""
        try:
            async for kind, message in self._vici.events(_KINDS):
                self.ready.set()
                if kind:
                    self._heard(kind, message)
        except Unavailable:
            pass
        finally:
            self.ready.set()
            self._ended = True
            self._listeners.end()

    async def events(self) -> AsyncIterator[str]:
        if self._ended:
            return
        async for each in self._listeners.each():
            yield each

    def tell(self, ids: Iterable[str]) -> None:
        self._listeners.tell(ids)

    def lines(self, name: str, connection: Connection, last: int) -> Sequence[Line]:
        """Give what charon wrote of one's peers lately."""
        return self._lines.newest((name, connection.peer_address), last)

    def log(self, message: Answer) -> None:
        """Take a line of charon's log: an event, or what an ``initiate`` says."""
        number, name, line = _line(message)
        now = time.time()
        found = self._reader.read(number, name, line, now)
        if found is None or not any(True for _ in self._of(found.who)):
            return  # of strangers nothing is kept
        before = self._findings.get(found.who)
        self._findings[found.who] = reasons.kept(before, found)
        if before is None or before.kind != found.kind:
            self.tell(self._of(found.who))

    def forget(self, who: str) -> None:
        self._findings.pop(who, None)

    def leave(self, connection: str) -> None:
        """Forget when the state of one changed that is there no more, or disabled."""
        self._marks.pop(connection, None)
        self.sweep()

    def sweep(self) -> None:
        """Forget what was found of peers that nobody has any more."""
        addresses = {one.peer_address for one in self._known.values()}
        for who in [who for who in self._findings if who not in addresses and not any(self._members(who))]:
            self.forget(who)

    def finding(self, name: str, connection: Connection) -> reasons.Finding | None:
        """Give why one is down, as far as is known."""
        found = [self._findings.get(who) for who in (name, connection.peer_address)]
        return max((one for one in found if one is not None), key=lambda one: one.at, default=None)

    def refused(self, name: str, since: float) -> bool:
        """Tell whether one of both peers has refused the other since then."""
        found = self._findings.get(name)
        return found is not None and found.at >= since and found.kind not in reasons.SOFT

    def mark(self, connection: str, now: float) -> float:
        """Give when its state last changed, as far as is known."""
        return self._marks.get(connection, now)

    def _heard(self, kind: str, message: Answer) -> None:
        if kind == "log":
            number, name, line = _line(message)
            self._lines.add(number, name, str(message.get("group", "")), line, time.time())
            self.log(message)
            return
        names = [key for key, value in message.items() if isinstance(value, Mapping)]
        ids = [one for name in names for one in self._members(name)]
        if kind.endswith("updown"):
            up = message.get("up") == "yes"
            self._marks.update(dict.fromkeys(ids, time.time()))
            if up and kind == "child-updown":
                for who in (*names, *(self._known[one].peer_address for one in ids if one in self._known)):
                    self.forget(who)
            if not up:
                self.went(ids)
        self.tell(ids)

    def _of(self, who: str) -> Iterable[str]:
        named = tuple(self._members(who))
        return named or (one for one, known in self._known.items() if known.peer_address == who)


def _line(message: Answer) -> tuple[str, str, str]:
    """Give number and name of the IKE_SA that a line is about, and the line."""
    number, name, line = (str(message.get(key, "")) for key in ("ikesa-uniqueid", "ikesa-name", "msg"))
    return number, name, line
