"""What a request of lua-resty-peter_sslers asks for, read strictly before anything is done about it.

The client puts the server name of a TLS handshake, byte for byte as a stranger sent it, into a path or a
body. So whatever is not exactly one of its two requests, with a name that could have a certificate, is
refused.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final, Literal

from edgeward.domain_name import normalise
from edgeward.errors import Invalid

MOST_BODY: Final = 512
_MOST_NAME: Final = 253
_QUERY: Final = b"openresty=1"
_LOOKUP: Final = (b"/domain/", b"/config.json")
_AUTOCERT: Final = b"/api/domain/autocert.json"
_FIELD: Final = b"domain_name="

Route = Literal["lookup", "autocert"]


@dataclass(frozen=True)
class Asked:
    """``name`` is canonical; of an autocert it stands in the body and is empty here."""

    route: Route
    name: str = ""


class Declined(Exception):
    """Not one of the two requests: the status, and one sentence for whoever reads nginx's log."""

    def __init__(self, status: int, message: str, route: Route | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.route = status, message, route


def read(method: str, path: bytes, query: bytes, secret: str) -> Asked:
    """Give what is asked for; ``path`` is as it came, nothing unescaped. Raises Declined."""
    first, rest = path[1 : len(secret) + 1], path[len(secret) + 1 :]
    if not hmac.compare_digest(first, secret.encode()) or path[:1] != b"/":
        raise Declined(404, "there is nothing here")
    if rest == _AUTOCERT:
        _expect(method, "POST", query, "autocert")
        return Asked("autocert")
    before, behind = _LOOKUP
    if rest.startswith(before) and rest.endswith(behind) and len(rest) >= len(before) + len(behind):
        _expect(method, "GET", query, "lookup")
        return Asked("lookup", _name(rest[len(before) : -len(behind)], "lookup"))
    raise Declined(404, "there is nothing here")


def read_body(body: bytes) -> str:
    """Give the canonical name an autocert is for; raises Declined."""
    if not body.startswith(_FIELD):
        raise Declined(400, "the body is domain_name= and the name, as it is", "autocert")
    return _name(body.removeprefix(_FIELD), "autocert")


def _expect(method: str, wanted: str, query: bytes, route: Route) -> None:
    if method != wanted:
        raise Declined(405, f"this is for {wanted}", route)
    if query != _QUERY:
        raise Declined(400, "the query is openresty=1", route)


def _name(raw: bytes, route: Route) -> str:
    if len(raw) > _MOST_NAME:
        raise Declined(400, f"a domain name has at most {_MOST_NAME} bytes", route)
    try:
        return normalise(raw.decode("ascii"))
    except UnicodeDecodeError:
        raise Declined(400, "a server name is ASCII", route) from None
    except Invalid as error:
        raise Declined(400, str(error), route) from None
