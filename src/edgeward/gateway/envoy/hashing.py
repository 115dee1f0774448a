"""What of a request is hashed, for services that choose a backend by it."""

from __future__ import annotations

from typing import Any

from edgeward.gateway.model import HashCookie, Service
from edgeward.xds import messages as m

_Policy = m.RouteAction.HashPolicy


def hash_policies(service: Service | None, *, secure: bool) -> list[Any]:
    """Give what decides about the backend, and the visitor's address for requests that lack it."""
    if service is None or not service.hashes:
        return []
    by = service.hash_on
    if by is None or by.client_address:
        return [client_address()]
    if by.path:
        return [_header(":path", without="\\?.*")]
    first = _cookie(by.cookie, secure=secure) if by.cookie else _header(str(by.header))
    first.terminal = True
    return [first, client_address()]


def client_address() -> Any:
    return _Policy(connection_properties=_Policy.ConnectionProperties(source_ip=True))


def _header(name: str, without: str = "") -> Any:
    header = _Policy.Header(header_name=name)
    if without:
        header.regex_rewrite.CopyFrom(m.RegexMatchAndSubstitute(pattern=m.RegexMatcher(regex=without)))
    return _Policy(header=header)


def _cookie(cookie: HashCookie, *, secure: bool) -> Any:
    found = _Policy.Cookie(name=cookie.name)
    if cookie.ttl is not None:
        found.ttl.CopyFrom(m.seconds(cookie.ttl))
        found.path = "/"
        attributes = [("SameSite", "Lax"), *([("Secure", "")] if secure else [])]
        found.attributes.extend(_Policy.CookieAttribute(name=n, value=v) for n, v in attributes)
    return _Policy(cookie=found)
