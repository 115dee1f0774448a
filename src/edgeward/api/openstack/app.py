"""OpenStack's API over HTTP: who asks, for which project, and which resource a path means."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from edgeward.access.model import Principal, Unauthenticated
from edgeward.api import reading
from edgeward.api.openstack import discovery
from edgeward.api.openstack.attributes import Asker
from edgeward.api.openstack.facade import Facade
from edgeward.api.openstack.faults import Fault, bad_request, fault_of, not_allowed, not_found, unauthorized
from edgeward.api.openstack.resources import PORT, RESOURCES, ROUTER
from edgeward.declaration.model import DEFAULT_PROJECT
from edgeward.errors import EdgewardError
from edgeward.log import logger
from edgeward.parsing import Name

Authenticate = Callable[[str | None, str], Awaitable[Principal]]
"""Gives whose token this is, asked from that address; raises as ``access`` does."""
_MOST_BODY: Final = 1 << 20
_BODY_SECONDS: Final = 30.0
_INTERFACES: Final = ("add_router_interface", "remove_router_interface")
_PROJECT: Final = TypeAdapter(Name)
_PROVIDERS: Final = [
    {"service_type": "VPN", "name": driver, "default": driver == "strongswan"}
    for driver in discovery.FLAVORS.values()
]
_DEFECT: Final = "this is a defect of Edgeward; the controller's log tells more"
_log = logger("edgeward.api.openstack")


@dataclass(frozen=True)
class Request:
    """What came, as far as it matters. ``path`` has what is behind ``/v2.0/``."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    base: str
    client: str

    @property
    def url(self) -> str:
        return f"{self.base}/v2.0/{self.path}"


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any = None


class OpenStackApp:
    """An ASGI app for ``/``, ``/v2.0`` and everything below it."""

    def __init__(self, facade: Facade, authenticate: Authenticate, *, local: bool = False) -> None:
        self._facade = facade
        self._authenticate = authenticate
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = _request(scope)
        try:
            if self._local:
                _of_this_host(request)
            answer = await self._answer(request, scope, receive)
        except Fault as fault:
            answer = Answer(fault.status, fault.body())
        except EdgewardError as error:
            refusal = fault_of(error)
            answer = Answer(refusal.status, refusal.body())
        except HTTPException as error:
            answer = Answer(error.status_code, bad_request(str(error.detail)).body())
        except Exception:
            _log.exception("request of OpenStack's API failed", method=request.method, path=request.path)
            answer = Answer(500, Fault(500, "HTTPInternalServerError", _DEFECT).body())
        await _send(send, answer)

    async def _answer(self, request: Request, scope: Scope, receive: Receive) -> Answer:
        path = scope["path"].rstrip("/")
        if path in ("", "/v2.0"):
            return _version(request, path)
        if not path.startswith("/v2.0/"):
            raise not_found()
        who = await self._authenticated(request)
        scope.setdefault("state", {})["who"] = who
        return await self._of(who, _asker(who, request.headers), request, receive)

    async def _authenticated(self, request: Request) -> Principal:
        token = _token(request.headers)
        try:
            return await self._authenticate(token, request.client)
        except Unauthenticated as error:
            raise unauthorized("no token came along" if token is None else str(error)) from error

    async def _of(self, who: Principal, asker: Asker, request: Request, receive: Receive) -> Answer:
        parts = request.path.split("/")
        if parts[0] in _FIXED and request.method == "GET" and len(parts) <= 2:
            return _fixed(parts)
        length = 2 if parts[0] == "vpn" else 1
        resource = RESOURCES.get("/".join(parts[:length]).replace("_", "-"))
        rest = parts[length:]
        if resource is None or len(rest) > 2:
            raise not_found()
        if len(rest) == 2:
            if resource is not ROUTER or rest[1] not in _INTERFACES:
                raise not_found()
            if request.method != "PUT":
                raise not_allowed(request.method)
            data = await _body(receive)
            return Answer(200, await self._facade.interface(who, asker, rest[0], rest[1], data))
        allowed = ("GET",) if resource is PORT else (("GET", "PUT", "DELETE") if rest else ("GET", "POST"))
        if request.method not in allowed:
            raise not_allowed(request.method)
        if request.method == "GET" and not rest:
            return Answer(200, await self._facade.listed(who, asker, resource, request.query, request.url))
        if request.method == "GET":
            return Answer(200, await self._facade.found(who, asker, resource, rest[0], request.query))
        if request.method == "POST":
            return Answer(201, await self._facade.made(who, asker, resource, await _body(receive)))
        if request.method == "PUT":
            return Answer(
                200, await self._facade.changed(who, asker, resource, rest[0], await _body(receive))
            )
        await self._facade.deleted(who, asker, resource, rest[0])
        return Answer(204)


_FIXED: Final = ("extensions", "flavors", "service-providers")


def _fixed(parts: Sequence[str]) -> Answer:
    """Give what is the same for everybody."""
    kind, name = parts[0], parts[1] if len(parts) == 2 else ""
    if kind == "extensions":
        return Answer(200, discovery.extension(name) if name else discovery.extensions())
    if kind == "service-providers" and not name:
        return Answer(200, {"service_providers": _PROVIDERS})
    if kind == "flavors" and name:
        discovery.driver_of(name)
        found = next(flavor for flavor in discovery.flavors() if flavor["id"] == name)
        return Answer(200, {"flavor": found})
    if kind == "flavors":
        return Answer(200, {"flavors": discovery.flavors()})
    raise not_found()


def _version(request: Request, path: str) -> Answer:
    if request.method not in ("GET", "HEAD"):
        raise not_allowed(request.method)
    if path:
        return Answer(200, discovery.version(request.base, [r.plural for r in RESOURCES.values()]))
    return Answer(200, discovery.versions(request.base))


def _request(scope: Scope) -> Request:
    headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
    path = str(scope["path"]).removeprefix("/v2.0").strip("/").removesuffix(".json")
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    base = f"{scope.get('scheme', 'http')}://{headers.get('host', 'localhost')}"
    client = scope.get("client")
    return Request(scope["method"], path, query, headers, base, client[0] if client else "")


def _of_this_host(request: Request) -> None:
    """Refuse what a browser was talked into: where nobody logs in, its pages could come from anywhere."""
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    if "origin" in request.headers or host.strip("[]") not in ("localhost", "127.0.0.1", "::1"):
        raise Fault(403, "PolicyNotAuthorized", "This address is for programs of this host.")


def _token(headers: Mapping[str, str]) -> str | None:
    """Give the token of a request: in its own header, as a bearer's, or as the password of anybody."""
    if token := headers.get("x-auth-token"):
        return token
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(given.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


def _asker(who: Principal, headers: Mapping[str, str]) -> Asker:
    """Give the project that is asked for: the token's, or the one that its holder names."""
    named = headers.get("x-project-id") or headers.get("x-tenant-id")
    if not named:
        return Asker(who.projects or DEFAULT_PROJECT, who.everywhere)
    try:
        project = _PROJECT.validate_python(named)
    except ValidationError:
        raise bad_request("X-Project-Id has 1 to 100 letters, digits, dots, hyphens, underscores") from None
    if not who.sees(project):
        raise Fault(403, "PolicyNotAuthorized", f"this token is not for project {project}")
    return Asker(project, everywhere=False)


async def _body(receive: Receive) -> bytes:
    return await reading.body(receive, _MOST_BODY, _BODY_SECONDS, _refused_body)


def _refused_body(status: int, _: str) -> Fault:
    if status == 413:
        return Fault(413, "HTTPRequestEntityTooLarge", f"a body has at most {_MOST_BODY} bytes")
    if status == 408:
        return Fault(408, "HTTPRequestTimeout", "the body did not come in time")
    return bad_request("the body did not come")


async def _send(send: Send, answer: Answer) -> None:
    body = b"" if answer.body is None else json.dumps(answer.body).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    if answer.body is not None:
        headers.append((b"content-type", b"application/json"))
    if answer.status == 401:
        headers += [(b"www-authenticate", b"Bearer"), (b"www-authenticate", b'Basic realm="edgeward"')]
    if answer.status == 204:
        headers = headers[1:]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
