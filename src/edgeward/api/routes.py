"""Operations of the API, declared like FastAPI's, and made when first asked for.

FastAPI looks at each for a millisecond or two (its parameters, its dependencies, and theirs), and there are
well over a hundred: making them all was a quarter of a controller's start, and few are asked for soon after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final, TypeVar

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match, compile_path
from starlette.types import Receive, Scope, Send

from edgeward.api.problems import MEDIA_TYPE

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_PROBLEM: Final = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_EVERY: Final[dict[int | str, dict[str, Any]]] = {
    "default": {"description": "A problem document (RFC 9457)", "content": _PROBLEM}
}


class Operation(BaseRoute):
    """One method of one path. ``options`` are those of FastAPI's route."""

    def __init__(self, method: str, path: str, endpoint: Callable[..., Any], options: dict[str, Any]) -> None:
        self.path = path
        self._method = method
        self._endpoint = endpoint
        self._options = options
        self._beginning = path.partition("{")[0]

    @cached_property
    def made(self) -> APIRoute:
        responses = {**_EVERY, **self._options.get("responses", {})}
        options = {**self._options, "responses": responses}
        return APIRoute(self.path, self._endpoint, methods=[self._method], **options)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or not scope["path"].startswith(self._beginning):
            return Match.NONE, {}
        if not self._pattern.match(scope["path"]):
            return Match.NONE, {}
        if scope["method"] != self._method:
            return Match.PARTIAL, {"route": self}
        return self.made.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.made.handle(scope, receive, send)

    @cached_property
    def _pattern(self) -> Any:
        return compile_path(self.path)[0]


class Routes:
    """Operations below one prefix, in the order of their declaration."""

    def __init__(self, prefix: str = "", tags: Sequence[str] = ()) -> None:
        self.operations: list[Operation] = []
        self._prefix = prefix
        self._tags = list(tags)

    def get(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self._declared("GET", path, options)

    def put(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self._declared("PUT", path, options)

    def post(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self._declared("POST", path, options)

    def delete(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self._declared("DELETE", path, options)

    def _declared(self, method: str, path: str, options: dict[str, Any]) -> Callable[[Endpoint], Endpoint]:
        options = {**options, "tags": self._tags}

        def declare(endpoint: Endpoint) -> Endpoint:
            self.operations.append(Operation(method, self._prefix + path, endpoint, options))
            return endpoint

        return declare
