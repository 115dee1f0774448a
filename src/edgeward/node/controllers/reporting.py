"""What this node says of itself: reports to the controller, and answers to its questions about names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Protocol

from edgeward import __version__
from edgeward.declaration.feed import PROTOCOL, Answer, Ask, LogHead, Rejection, Report, TierFigures
from edgeward.domain_name import normalise
from edgeward.errors import EdgewardError, Invalid
from edgeward.log import logger
from edgeward.node.backends import trying
from edgeward.node.backends.addresses import Backends
from edgeward.node.certificates.answering import Answering
from edgeward.node.certificates.redis_tier import RedisTier
from edgeward.node.certificates.tiers import Tiers
from edgeward.node.envoy.admin import EnvoyAdmin, Seen
from edgeward.node.envoy.publishing import Publishing
from edgeward.node.sealed_copy.last_good import LastGood
from edgeward.node.state import State

log = logger(__name__)
_EVERY_SECONDS = 10.0
_STARTING_SECONDS = 1.0
_MOST_SERVICES = 5
_GATHER_SECONDS = 0.05
_MOST_REJECTIONS = 200


class Line(Protocol):
    """Where reports go."""

    async def report(self, report: Report) -> None: ...

    async def answer(self, answer: Answer) -> None: ...


class Reporting:
    """Gathers from every part of the node; ``changed()`` has a report go out soon."""

    def __init__(
        self,
        state: State,
        copy: LastGood,
        tiers: Tiers,
        answering: Answering,
        publishing: Publishing,
        backends: Backends,
        envoy: EnvoyAdmin,
    ) -> None:
        self._state = state
        self._copy = copy
        self._tiers = tiers
        self._answering = answering
        self._publishing = publishing
        self._backends = backends
        self._envoy = envoy
        self._due = asyncio.Event()
        self.others: Callable[[], Iterable[Rejection]] = tuple
        """What else to report as not taken."""
        self.root_log: Callable[[], LogHead | None] = lambda: None
        self.rootd: Callable[[], str] = str
        self._in_force = 0
        self.redis: RedisTier | None = None

    def changed(self) -> None:
        self._due.set()

    async def run(self, line: Line) -> None:
        """Report on each change and every 10 s, for ever; each second while Envoy does not serve yet."""
        last: Report | None = None
        while True:
            serving = last is not None and last.envoy.state == "serving"
            try:
                async with asyncio.timeout(_EVERY_SECONDS if serving else _STARTING_SECONDS):
                    await self._due.wait()
                    await asyncio.sleep(_GATHER_SECONDS)
            except TimeoutError:
                last = None
            self._due.clear()
            report = self.report(await self._envoy.seen())
            if report == last:
                continue
            try:
                await line.report(report)
                last = report
            except EdgewardError as error:
                log.debug("report not taken", problem=str(error))
                last = None

    def report(self, seen: Seen) -> Report:
        in_force = self._answering.in_force
        if in_force is not None:
            self._in_force = in_force
        return Report(
            version=__version__,
            protocol=PROTOCOL,
            revision=self._in_force,
            received=self._state.revision,
            rejections=self._rejections(),
            envoy=seen.state,
            cache=self.tiers(seen),
            certificates=self._copy.certificates(),
            backends=self._publishing.problems(),
            left_out=seen.troubled.sentences(),
            root_log=self.root_log(),
            rootd=self.rootd(),
        )

    def _rejections(self) -> tuple[Rejection, ...]:
        ours = [
            Rejection(object=key, message=problem.text, revision=problem.revision)
            for key, problem in self._state.problems.items()
        ]
        ours += self.others()
        if self._publishing.failure is not None:
            ours.append(self._publishing.failure)
        return (*ours, *self._answering.rejections.all())[:_MOST_REJECTIONS]

    def tiers(self, seen: Seen) -> dict[str, TierFigures]:
        """Give every tier's size, bound, hits, misses and evictions.

        Envoy does not count its own hits: they are the handshakes it made less those it asked for.
        """
        bounds, tiers = self._state.cache, self._tiers
        residents = self._answering.residents
        made = seen.stats.get("listener.https.ssl.handshake", 0)
        asked = seen.stats.get("listener.https.on_demand_secret.cert_requested", 0)
        certificates = self._copy.certificates()
        return {
            "resident": TierFigures(
                size=residents.canonical if residents else 0,
                bound=bounds.resident,
                hits=max(0, made - asked),
                misses=asked,
                evictions=residents.evicted if residents else 0,
            ),
            "spellings": TierFigures(
                size=residents.spellings if residents else 0,
                bound=bounds.spellings,
                hits=0,
                misses=0,
                evictions=residents.evicted_spellings if residents else 0,
            ),
            "memory": TierFigures(
                size=tiers.memory_size,
                bound=bounds.memory,
                hits=tiers.memory.hits,
                misses=tiers.memory.misses,
                evictions=tiers.memory.evictions,
            ),
            "disk": TierFigures(
                size=certificates, bound=certificates, hits=tiers.disk.hits, misses=tiers.disk.misses
            ),
            "misses": TierFigures(
                size=tiers.misses_size,
                bound=bounds.misses,
                hits=tiers.missed.hits,
                misses=tiers.missed.misses,
                evictions=tiers.missed.evictions,
            ),
            **self._redis(),
        }

    def _redis(self) -> dict[str, TierFigures]:
        if self.redis is None:
            return {}
        counts = self.redis.counts
        return {"redis": TierFigures(size=0, bound=0, hits=counts.hits, misses=counts.misses)}

    # --- answers ------------------------------------------------------------------------------

    async def answer(self, ask: Ask, now: float, send: Callable[[Answer], Awaitable[None]]) -> None:
        """Answer a question about a name; one that cannot be sent is let go: it is asked again."""
        try:
            await send(await self.answer_to(ask, now))
        except EdgewardError as error:  # also where this node is not let in any more
            log.info("answer not taken", problem=str(error))

    async def answer_to(self, ask: Ask, now: float) -> Answer:
        try:
            name = normalise(ask.name)
        except Invalid:
            return Answer(id=ask.id, tier="none")
        tier: str
        tier, kept = self._tiers.where(name, now) if self._state.covered(name) else ("none", None)
        if tier == "none" and self.redis is not None and self._state.covered(name):
            kept = await self.redis.has(name)
            tier = "none" if kept is None else "redis"
        resident = self._answering.holds(name)
        troubles, notes = await self._tried(name)
        return Answer(
            id=ask.id,
            tier="resident" if resident is not None else tier,
            not_after=datetime.fromtimestamp(kept.not_after, UTC).isoformat() if kept else None,
            fingerprint=kept.fingerprint if kept else None,
            service=troubles,
            notes=tuple(notes),
        )

    def _of_envoy(self, services: set[str]) -> list[str]:
        """Give what Envoy does about these services."""
        said = self._envoy.last.troubled
        out = {key: text for key, text in said.sentences().items() if key.partition("/")[2] in services}
        over = {
            f"services/{service}": f"{count} {what} were over the limits of its circuit since Envoy started"
            for (service, what), count in said.over.items()
            if service in services
        }
        return [f"{key}: {text}" for found in (out, over) for key, text in found.items()]

    async def _tried(self, name: str) -> tuple[dict[str, str], list[str]]:
        """Give what is wrong with the services of a name: those that cannot serve, and smaller matters."""
        found = {(s.project, s.name): s for s in self._state.services_of(name)}
        services = list(found.values())[:_MOST_SERVICES]
        tried = await asyncio.gather(
            *(trying.failures(s, self._backends.addresses(s), self._publishing.relays(s)) for s in services)
        )
        troubles: dict[str, str] = {}
        await self._envoy.seen()
        notes: list[str] = self._of_envoy({f"{s.project}/{s.name}" for s in services})
        for service, (failures, works) in zip(services, tried, strict=True):
            key = f"services/{service.project}/{service.name}"
            problems = [p for p in (self._publishing.problem(service), *failures) if p]
            if works:
                notes += [f"{key}: {problem}" for problem in problems]
            else:
                troubles[key] = "; ".join(problems)
        return troubles, notes
