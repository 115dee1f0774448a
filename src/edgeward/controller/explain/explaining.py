"""Gathers what bears on a name, and has it explained."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.certificates import history, summaries
from edgeward.certificates.model import Domain, Summary
from edgeward.certificates.orders import queue
from edgeward.certificates.orders.model import Queued
from edgeward.certificates.policy import certificate_for
from edgeward.controller.declared.state import State
from edgeward.controller.explain.facts import Facts, NodeView, choice_of, service_of
from edgeward.controller.explain.gathering import Gathering
from edgeward.controller.explain.name import explain, refused, visited
from edgeward.controller.explain.steps import Step
from edgeward.database.engine import Database
from edgeward.declaration import revisions
from edgeward.declaration.feed import Answer
from edgeward.declaration.model import DEFAULT_PROJECT, Key
from edgeward.errors import Refused
from edgeward.gateway.choose import routes_of_host
from edgeward.gateway.model import Route, Service
from edgeward.placement import NAME

_SILENT: Final = Answer(id="", tier="none")
_RECENT: Final = 20
AskNodes = Callable[[str], Awaitable[Sequence[NodeView]]]
"""Asks every node about a canonical name; returns within some seconds whoever does not answer."""


class Explainer:
    """What ``api.explain`` calls. Other projects' objects are as if they were not there."""

    def __init__(
        self,
        database: Database,
        state: State,
        ask: AskNodes,
        gathering: Gathering,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._gathering = gathering
        self.of_node = gathering.of_node
        self.of_relay = gathering.of_relay
        self.of_action = gathering.of_action
        self.of_tunnel = gathering.of_tunnel
        self.labels: Callable[[], Mapping[str, Mapping[str, str]]] = dict
        """Give the labels of every node, its name among them."""
        self.refusal: Callable[[str, Domain], Awaitable[str | None]] = _allowed
        """Says why a name's first certificate may not be had."""
        self._state = state
        self._ask = ask
        self._clock = clock

    async def explained(
        self, who: Principal, name: str, path: str, scheme: str = "https", port: int | None = None
    ) -> Mapping[str, Any]:
        require(who, Right.READ)
        listen = self._state.listen()
        canonical = visited(name, listen)
        if isinstance(canonical, Step):
            return refused(name, canonical)
        domain = self._visible_domain(who, canonical)
        routes, services = self._visible_objects(who)
        if domain is not None:  # another project's wildcard does not catch what this one leaves open
            routes = [route for route in routes if route.project == domain.project]
        certificate = await self._certificate(canonical) if domain is not None else None
        first = domain if certificate is None else None
        facts = Facts(
            name=canonical,
            path=path,
            now=self._clock(),
            scheme=scheme,
            port=port,
            listen=listen,
            domain=domain,
            withheld=None if domain is None else self._state.policy().withholding(canonical),
            without_issuer=self._without_issuer(canonical, domain),
            routes=routes,
            services=services,
            refusal=await self.refusal(canonical, first) if first is not None else None,
            certificate=certificate,
            stored=None if certificate is None else await self._stored(certificate),
            order=await self._order(canonical, domain) if domain is not None else None,
            nodes=await self._nodes(canonical, visible=domain is not None),
        )
        sites = await self._gathering.sites(_places(facts))
        return explain(name, replace(facts, sites=sites, changed=await self.changed(_objects(facts))))

    async def changed(self, keys: Iterable[Key]) -> Mapping[str, float]:
        """Give when objects were declared as they are, by key: of those that history still knows of."""
        revision_of = {k: self._state.stored[k].revision for k in keys if k in self._state.stored}
        async with self._database.reading() as connection:
            times = await revisions.times(connection, set(revision_of.values()))
        return {str(key): times[revision] for key, revision in revision_of.items() if revision in times}

    async def _nodes(self, name: str, *, visible: bool) -> Sequence[NodeView]:
        """Give what nodes say; of a name the asker may not see, not what they hold for it."""
        labels = self.labels()
        nodes = [replace(n, labels=labels.get(n.name, {NAME: n.name})) for n in await self._ask(name)]
        return nodes if visible else [replace(node, answer=_SILENT) for node in nodes]

    def _visible_domain(self, who: Principal, name: str) -> Domain | None:
        domain = self._state.policy().covering(name)
        return domain if domain is not None and who.sees(domain.project) else None

    def _visible_objects(self, who: Principal) -> tuple[list[Route], dict[tuple[str, str], Service]]:
        seen = [s.value for s in self._state.stored.values() if who.sees(s.key.project)]
        routes = [value for value in seen if isinstance(value, Route)]
        return routes, {(v.project, v.name): v for v in seen if isinstance(v, Service)}

    def _without_issuer(self, name: str, domain: Domain | None) -> str | None:
        if domain is None:
            return None
        try:
            self._state.policy().order(certificate_for(name, domain), domain)
        except Refused as error:
            return str(error)
        return None

    async def _order(self, name: str, domain: Domain) -> Queued | None:
        wanted = certificate_for(name, domain)
        async with self._database.reading() as connection:
            return (await queue.states(connection, [wanted])).get(wanted)

    async def _certificate(self, name: str) -> Summary | None:
        async with self._database.reading() as connection:
            return await summaries.serving(connection, name, self._clock())

    async def _stored(self, certificate: Summary) -> float | None:
        async with self._database.reading() as connection:
            lines = await history.of_name(connection, certificate.name, _RECENT)
        return min((line.at for line in lines if line.fingerprint == certificate.fingerprint), default=None)


async def _allowed(_name: str, _domain: Domain) -> None:
    return None


def _places(facts: Facts) -> set[tuple[str, str]]:
    """Give the sites, by project and name, that backends are behind."""
    service = service_of(facts, choice_of(facts))
    if service is None:
        return set()
    return {(service.project, backend.via) for backend in service.backends if backend.via is not None}


def _objects(facts: Facts) -> Iterator[Key]:
    """Give the keys of what is declared and on the way of a visitor."""
    yield Key("listen", DEFAULT_PROJECT, "listen")
    if facts.domain is not None:
        yield Key("domains", facts.domain.project, facts.domain.name)
    choice = choice_of(facts)
    for route in [r for _, r in routes_of_host(facts.routes, facts.name)[:1]] + (
        [choice.route] if choice else []
    ):
        yield Key("routes", route.project, route.name)
        if route.service is not None:
            yield Key("services", route.project, route.service)
