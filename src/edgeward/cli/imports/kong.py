"""Translates Kong's declarative configuration (also decK's): services, routes, upstreams, certificates.

https://docs.konghq.com/gateway/latest/production/deployment-topologies/db-less-and-declarative-config/
What cannot be taken over is named, each with its place; nothing is left out without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edgeward.certificates.brought.pair import Pair
from edgeward.certificates.brought.pair import read as read_pair
from edgeward.cli.imports import kong_routes, kong_services
from edgeward.cli.imports.found import fresh_name
from edgeward.cli.imports.kong_parts import Notes, Plugins, called, items, pattern, references
from edgeward.domain_name import patterns_of
from edgeward.errors import Invalid

_KNOWN: Final = frozenset({"services", "routes", "upstreams", "targets", "certificates", "snis", "plugins"})
_OF_THE_FILE: Final = "_"
"""Begins what Kong's tools say of the file itself, as ``_info`` and ``_konnect``."""


@dataclass
class Translated:
    """``domains``, ``services`` and ``routes`` as a document has them; ``pairs`` by the domain's name."""

    domains: list[dict[str, Any]] = field(default_factory=list)
    services: list[dict[str, Any]] = field(default_factory=list)
    routes: list[dict[str, Any]] = field(default_factory=list)
    pairs: dict[str, Pair] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)

    @property
    def document(self) -> dict[str, Any]:
        sections = {"domains": self.domains, "services": self.services, "routes": self.routes}
        return {"version": 1, **{name: found for name, found in sections.items() if found}}


def translate(data: object, now: float) -> Translated:
    """Give what Kong's document says in our words; raises Invalid where it is none of Kong's."""
    if not isinstance(data, Mapping) or "_format_version" not in data:
        raise Invalid("this is no declarative configuration of Kong: it has no _format_version")
    try:
        return _translated(data, now)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise Invalid(f"this is no declarative configuration that Kong would take: {error}") from error


def _translated(data: Mapping[str, Any], now: float) -> Translated:
    made = Translated()
    for section in sorted(name for name in set(data) - _KNOWN if not str(name).startswith(_OF_THE_FILE)):
        number = f" ({len(data[section])} of them)" if isinstance(data[section], list) else ""
        made.notes.add(f"{section} are not taken over{number}")
    upstreams = _upstreams(data)
    apart = Plugins(items(data, "plugins"), made.notes)
    known: dict[str, tuple[str, Sequence[Any]]] = {}
    for service in items(data, "services"):
        found = kong_services.service(service, upstreams, made.notes)
        if found is not None and any(other["name"] == found["name"] for other in made.services):
            made.notes.add(f"the service {found['name']} is there twice: the second is left out")
        elif found is not None:
            made.services.append(found)
            plugins = [*items(service, "plugins"), *apart.of("service", service), *apart.general]
            known |= dict.fromkeys(references(service), (found["name"], plugins))
            for route in items(service, "routes"):
                _route(made, route, found["name"], [*apart.of("route", route), *plugins])
    for route in items(data, "routes"):
        of = next((known[one] for one in references(route.get("service")) if one in known), None)
        if of is None:
            made.notes.add(f"the route {called(route)} leads to no service that was taken over")
            continue
        _route(made, route, of[0], [*apart.of("route", route), *of[1]])
    _certificates(made, data, now)
    _domains(made)
    return made


def _route(made: Translated, route: Mapping[str, Any], service: str, plugins: Sequence[Any]) -> None:
    found = kong_routes.route(route, service, plugins, made.notes)
    if found is not None:
        found["name"] = fresh_name(found["name"], {other["name"] for other in made.routes})
        made.routes.append(found)


def _upstreams(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Give upstreams by name, with the targets that stand apart from them."""
    found = {str(one.get("name")): dict(one) for one in items(data, "upstreams")}
    known = {reference: one for one in found.values() for reference in references(one)}
    for target in items(data, "targets"):
        of = next((known[one] for one in references(target.get("upstream")) if one in known), None)
        if of is not None:
            of["targets"] = [*items(of, "targets"), target]
    return {**found}


def _certificates(made: Translated, data: Mapping[str, Any], now: float) -> None:
    """Give certificates as domains of uploaded ones, under the names Kong has them for."""
    apart = list(items(data, "snis"))
    for one in items(data, "certificates"):
        snis = [sni.get("name") if isinstance(sni, Mapping) else sni for sni in one.get("snis") or ()]
        if one.get("id") is not None:
            snis += [sni.get("name") for sni in apart if _id(sni.get("certificate")) == one["id"]]
        names = [name for sni in snis if (name := pattern(str(sni))) is not None]
        try:
            pair = read_pair(str(one.get("cert", "")), str(one.get("key", "")), now)
        except Invalid as error:
            made.notes.add(f"the certificate of {', '.join(names) or called(one)}: {error}")
            continue
        borne = [name for name in dict.fromkeys(names or pair.names) if pair.bears(name)]
        taken = {name for domain in made.domains for name in (domain["name"], *domain.get("also", ()))}
        borne = [name for name in borne if name not in taken]
        if borne:
            also = {"also": borne[1:]} if len(borne) > 1 else {}
            made.domains.append({"name": borne[0], **also, "issuer": "uploaded"})
            made.pairs[borne[0]] = pair


def _id(reference: object) -> object:
    return reference.get("id") if isinstance(reference, Mapping) else reference


def _domains(made: Translated) -> None:
    """Declare what routes need and no certificate of the file is for."""
    covered = {name for domain in made.domains for name in (domain["name"], *domain.get("also", ()))}
    for host in _hosts(made.routes):
        if covered.isdisjoint(patterns_of(host)):
            made.domains.append({"name": host})
            covered.add(host)
            made.notes.add(f"{host} has no certificate in the file: it gets one of the local authority")


def _hosts(routes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    every = dict.fromkeys(host for route in routes for host in route["hosts"])
    yield from sorted(every, key=lambda host: not host.startswith("*."))
