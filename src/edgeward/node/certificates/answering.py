"""Answers every name Envoy asks for, at once or when obtaining it ends, with its secret or its removal."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from edgeward.domain_name import normalise
from edgeward.errors import Invalid
from edgeward.node.certificates.listener_secrets import Lasting
from edgeward.node.certificates.obtaining import Obtaining, Outcome
from edgeward.node.certificates.residency import NO_SNI, Residency
from edgeward.node.certificates.resident import Resident, Residents
from edgeward.node.certificates.secrets import Kept
from edgeward.node.certificates.tiers import Tiers
from edgeward.node.envoy.rejections import Rejections
from edgeward.node.state import State, Touched
from edgeward.xds import messages
from edgeward.xds.events import Ask, Dropped, Event, Refused
from edgeward.xds.on_demand import LASTING
from edgeward.xds.server import Connection
from edgeward.xds.snapshot import Snapshot

_TROUBLE_SECONDS = 1.0
_CLOSED_SECONDS = 1.0
"""How long no new name of a domain is asked for after one was refused because there were too many: a name
that has a certificate by then is known here within that time."""
_MOST_WAITING = 10_000


class Answering:
    """The program behind the xDS server.

    ``fetch(name, timeout)`` asks the controller, ``keep(kept)`` puts what it gave on disk;
    ``changed()`` is called when there is something to report.
    """

    def __init__(
        self,
        state: State,
        tiers: Tiers,
        fetch: Callable[[str, float], Awaitable[Kept]],
        keep: Callable[[Kept], None],
        changed: Callable[[], None],
        lasting: Lasting,
    ) -> None:
        self._state = state
        self._tiers = tiers
        self._keep = keep
        self._changed = changed
        self._obtaining = Obtaining(fetch, self._obtained, self._is_closed)
        self._closed: dict[str, float] = {}
        self._waiting: dict[str, set[tuple[Connection, str]]] = {}
        self._snapshot: Snapshot | None = None
        self._group: asyncio.TaskGroup | None = None
        self._ready = False
        self.residency = Residency(self._judge)
        self._lasting = lasting
        self.rejections = Rejections()
        self.serving: Connection | None = None
        """Of two Envoys, the newest that has taken in a whole state: the other one starts, or only drains."""
        self.handshakes: Counter[tuple[str, str]] = Counter()
        """Names answered, by tier and outcome."""

    # --- what Envoy says ----------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        self.residency.opened(connection)
        if self._snapshot is not None:
            connection.delta.offer(self._snapshot)
        self._changed()

    def closed(self, connection: Connection) -> None:
        self.residency.closed(connection)
        self._lasting.closed(connection)
        self._choose()
        self._changed()

    def told(self, connection: Connection, events: Sequence[Event]) -> None:
        now = time.time()
        for event in events:
            if isinstance(event, Ask) and event.name.startswith(LASTING):
                self._lasting.asked(connection, event.name)
            elif isinstance(event, Ask):
                self._asked(connection, event, now)
            elif isinstance(event, Dropped):
                self.residency.of(connection).drop(event.name)
                self._lasting.dropped(connection, event.name)
            else:
                self._refused(connection, event)

    def settled(self, connection: Connection) -> None:
        self._choose()
        self._changed()

    def _choose(self) -> None:
        """Find the Envoy that visitors come to: while it starts, it is still the one before."""
        newest = {c.delta.generation: c for c, _ in self.residency if not c.superseded}
        arrived = [generation for generation, c in newest.items() if c.revision is not None]
        self.serving = newest[max(arrived)] if arrived else None
        if self.serving is None:
            self.rejections.keep(None, ())
            return
        generation = self.serving.delta.generation
        for connection, _ in self.residency:
            connection.superseded |= connection.delta.generation < generation
        self.rejections.keep(generation, [g for g in newest if g >= generation])

    def _asked(self, connection: Connection, ask: Ask, now: float) -> None:
        if ask.held:
            self.residency.doubt(connection, ask.name)
            return
        name = self._canonical(ask.name)
        if not self._ready or name is None or not self._state.covered(name):
            self._deny(connection, ask.name, "none", "no name" if name is None else "not declared")
            return
        found = self._tiers.find(name, now)
        if found is not None:
            self.residency.serve(connection, ask.name, name, found.kept)
            self.handshakes[found.tier, "served"] += 1
        elif self._tiers.is_miss(name, now):
            self._deny(connection, ask.name, "missed", "not to be had")
        elif self._is_closed(name):
            self._deny(connection, ask.name, "missed", "too many new names")
        else:
            self._obtain(connection, ask.name, name)

    def _deny(self, connection: Connection, asked: str, tier: str, outcome: str) -> None:
        connection.delta.answer(asked, None)
        self.handshakes[tier, outcome] += 1

    def _refused(self, connection: Connection, refused: Refused) -> None:
        self.rejections.add(refused, self._state.revision, connection.delta.generation)
        if refused.type_url == messages.SECRET:
            residents = self.residency.of(connection)
            resident = residents.get(refused.name)
            if resident is not None:
                self._tiers.refuse(resident.digest, refused.message)
            residents.drop(refused.name)
        self._changed()

    def _canonical(self, asked: str) -> str | None:
        if asked == NO_SNI:
            return self._state.listen.default_domain
        if asked in self._state.domains and asked[0] != "*":
            return asked
        try:
            return normalise(asked)
        except Invalid:
            return None

    def _judge(self, asked: str, now: float) -> tuple[str, Kept] | None:
        name = self._canonical(asked)
        if name is None or not self._state.covered(name):
            return None
        kept = self._tiers.where(name, now)[1]
        return None if kept is None else (name, kept)

    # --- names no tier has --------------------------------------------------------------------

    def _obtain(self, connection: Connection, asked: str, name: str) -> None:
        waiting = self._waiting.get(name, set())
        group = self._group
        if group is None or len(waiting) >= _MOST_WAITING or not self._obtaining.start(name, group):
            self._deny(connection, asked, "controller", "too many")
            return
        self._waiting.setdefault(name, waiting).add((connection, asked))

    def _is_closed(self, name: str) -> bool:
        return (
            bool(self._closed) and self._closed.get(self._state.covering(name) or "", 0.0) > time.monotonic()
        )

    def _obtained(self, outcome: Outcome) -> None:
        now, name, kept = time.time(), outcome.name, outcome.kept
        if outcome.closed and (pattern := self._state.covering(name)) is not None:
            self._closed[pattern] = time.monotonic() + _CLOSED_SECONDS
        if kept is not None and kept.revision <= self._state.revision:
            found = self._tiers.find(name, now)  # the feed has said this, and maybe more since
            kept = found.kept if found else None
        elif kept is not None and kept.not_after > now:
            if outcome.tier == "controller":
                self._keep(kept)
            self._tiers.remember(name, kept, now)
        if kept is None or kept.not_after <= now or not self._state.covered(name):
            kept = None
            self._tiers.miss(name, now, _TROUBLE_SECONDS if outcome.trouble else None)
        self._answer_waiting(name, kept, "trouble" if outcome.trouble else "refused", outcome.tier)

    def _answer_waiting(self, name: str, kept: Kept | None, otherwise: str, tier: str = "controller") -> None:
        for connection, asked in self._waiting.pop(name, set()):
            if connection not in self.residency:
                continue
            if kept is None:
                self._deny(connection, asked, "controller", otherwise)
            else:
                self.residency.serve(connection, asked, name, kept)
                self.handshakes[tier, "served"] += 1
            connection.flush()

    # --- what the controller says -------------------------------------------------------------

    def offer(self, snapshot: Snapshot) -> None:
        """Have every Envoy take a new state."""
        self._snapshot = snapshot
        self.rejections.settle(snapshot)
        for connection, _ in self.residency:
            connection.delta.offer(snapshot)
            connection.flush()
        self._changed()

    def touched(self, touched: Touched) -> None:
        """Forget everywhere what a change makes doubtful."""
        self._tiers.invalidate(touched)
        self._closed.clear()
        if touched.cache:
            self._tiers.resize(self._state.cache)
            self.residency.resize(self._state.cache)
        self.rejections.certificates_changed(touched)
        self.residency.touched(touched)
        self._lasting.touched(touched)
        now = time.time()
        for name in [n for n in self._waiting if touched.hits(n)]:
            found = self._tiers.find(name, now)
            if found is not None or not self._state.covered(name):
                self._answer_waiting(name, found.kept if found else None, "not declared")

    def ask_before(self, nearer: Callable[[str], Awaitable[Kept | None]]) -> None:
        """Have somebody asked for names that no tier here has, before a controller is."""
        self._obtaining.nearer = nearer

    def begin(self) -> None:
        """There is a state now: names can be judged by it."""
        self._ready = True
        self.residency.begin()

    async def run(self) -> None:
        """Carry obtaining and looking again, for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self.residency.run())

    # --- what is told -------------------------------------------------------------------------

    @property
    def in_force(self) -> int | None:
        """The revision that visitors find; None where no Envoy is there, or it is not through."""
        return None if self.serving is None else self.serving.delta.in_force

    @property
    def obtaining(self) -> int:
        return len(self._obtaining)

    def holds(self, name: str) -> Resident | None:
        """Give what Envoy holds under a canonical name."""
        residents = self.residents
        return None if residents is None else residents.get(name)

    @property
    def residents(self) -> Residents | None:
        """What the Envoy holds that visitors come to, or the newest where none has all it needs yet."""
        if self.serving is not None:
            return self.residency.of(self.serving)
        return next((residents for _, residents in reversed(list(self.residency))), None)
