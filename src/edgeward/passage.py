"""What must hold where bytes pass unread, or through a tunnel: services that take them, hosts without other
routes, free ports, sites that lead there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from edgeward.certificates.model import Domain
from edgeward.gateway.model import Address, Behind, Listen, Route, Service, TcpRoute
from edgeward.parsing import Value
from edgeward.vpn.site import Site


def misfit(service: Service, *, unread: bool) -> str | None:
    """Say so where a service cannot take what it would get: bytes passed on ``unread``, or requests."""
    if unread and not service.takes_streams:
        return (
            f"the service '{service.name}' takes requests, not bytes unread; give it tcp:// or unix: backends"
        )
    if not unread and not service.takes_requests:
        return f"the service '{service.name}' takes bytes unread; use it with tls: passthrough or tcp_routes"
    return None


def astray(place: Behind, site: Value | None) -> str | None:
    """Say so where no tunnel leads to a backend's place; ``site``: what it is behind, None: nothing."""
    if site is None:
        return f"there is no site '{place.site}' in this project; declare it under vpn"
    if not isinstance(site, Site):
        return None
    if place.named and site.dns is None:
        return f"'{place.host}' is a name: say the dns server of site '{site.name}' that knows it"
    if not place.named and not site.has(place.host):
        networks = ", ".join(site.remote_networks)
        return f"{place.host} is in none of the remote_networks of site '{site.name}' ({networks})"
    return None


def shared(host: str, route: Route, others: Iterable[Route]) -> str | None:
    """Say so where a host that is passed through has another route beside it."""
    for other in others:
        if "passthrough" in (route.tls, other.tls) and host in other.hosts:
            whose = (
                f"the route '{other.name}'" if other.project == route.project else "another project's route"
            )
            return f"{whose} has '{host}', too, and what is passed through cannot be shared; keep one of them"
    return None


def guarded(domain: Domain, route: Route) -> str | None:
    """Say so where a route would lead past what a domain asks of its visitors."""
    client = domain.client_certificates
    if client is None:
        return None
    if route.tls == "passthrough":
        return f"the domain '{domain.name}' asks for client_certificates, which takes an edge that ends TLS"
    if client.required and route.http == "serve":
        return (
            f"the domain '{domain.name}' asks for client_certificates, and plain HTTP has none;"
            f" let route '{route.name}' say http: redirect or refuse"
        )
    return None


def ports(value: Listen | TcpRoute) -> Iterator[tuple[str, str]]:
    """Give (field, address) of everything an object listens on."""
    if isinstance(value, TcpRoute):
        yield from ((f"listen[{i}]", text) for i, text in enumerate(value.listen))
        return
    for field in ("http", "https", "api", "metrics"):
        yield from ((f"{field}[{i}]", text) for i, text in enumerate(getattr(value, field)))
    for name, own in value.nodes.items():
        for field in ("http", "https", "metrics"):
            addresses = getattr(own, field) or ()
            yield from ((f"nodes.{name}.{field}[{i}]", text) for i, text in enumerate(addresses))


def taken(value: Listen | TcpRoute, others: Mapping[str, Listen | TcpRoute]) -> Iterator[tuple[str, str]]:
    """Give (field, sentence) of each address that another object listens on; ``others``: by their names."""
    rivals = [
        (Address.parse(text), f"{whose} ({field.partition('[')[0]})" if isinstance(other, Listen) else whose)
        for whose, other in others.items()
        for field, text in ports(other)
    ]
    for field, text in ports(value):
        address = Address.parse(text)
        taken = next(((rival, whose) for rival, whose in rivals if address.meets(rival)), None)
        if taken is not None:
            yield field, f"{taken[1]} listens on {taken[0]} already; choose another port"


def port_of(text: str) -> int:
    return Address.parse(text).port
