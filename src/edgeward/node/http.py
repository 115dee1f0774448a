"""The one door to HTTP clients: the controller over TLS, Envoy's admin over its Unix socket."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from edgeward.errors import Invalid, Unavailable

_MOST_REPLY = 8 << 20
_MOST_LINE = 64 << 20
"""Bytes of one line of the feed: the largest transaction message a controller may send."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes

    def json(self) -> Any:
        """Give the parsed body; raises Unavailable where it is no JSON: then it is not our controller."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Unavailable("the answer is not JSON; is this the right address?") from error

    @property
    def kind(self) -> str:
        """Give which problem a problem document is about, blank where it does not say."""
        try:
            return str(json.loads(self.body).get("type")).rpartition(":")[2]
        except (ValueError, AttributeError):
            return ""

    @property
    def detail(self) -> str:
        """Give what a problem document says, or the status where there is none."""
        try:
            found = json.loads(self.body)
            return str(found.get("detail") or found.get("title"))[:500]
        except (ValueError, AttributeError):
            return f"status {self.status}"


class HttpClient:
    """Asks one server; every wait is bounded, and every failure on the way is Unavailable."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    @classmethod
    def over_tls(cls, base: str, ca: str, token: str) -> HttpClient:
        """Trust only the authority ``ca`` (PEM); raises Invalid where it or the URL is none."""
        try:
            context = ssl.create_default_context(cadata=ca)
        except ssl.SSLError as error:
            raise Invalid(f"the controller's CA is not a PEM certificate: {error}") from error
        return cls._client_for(base, context, {"authorization": f"Bearer {token}"})

    @classmethod
    def unverified(cls, base: str) -> HttpClient:
        """For fetching what is checked against a pin afterwards, and nothing else."""
        return cls._client_for(base, False, {})

    @classmethod
    def over_socket(cls, path: Path) -> HttpClient:
        # a kept connection would go on to an Envoy that another one has taken over from
        transport = httpx.AsyncHTTPTransport(uds=str(path), limits=httpx.Limits(max_keepalive_connections=0))
        return cls(httpx.AsyncClient(transport=transport, base_url="http://localhost", trust_env=False))

    @classmethod
    def _client_for(cls, base: str, verify: ssl.SSLContext | bool, headers: Mapping[str, str]) -> HttpClient:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30)
        try:
            client = httpx.AsyncClient(
                base_url=base, verify=verify, headers=headers, trust_env=False, limits=limits
            )
        except httpx.InvalidURL as error:
            raise Invalid(f"'{base}' is not a URL: {error}") from error
        if client.base_url.scheme != "https" or not client.base_url.host:
            raise Invalid(f"'{base}' is not the URL of a controller; write https://HOST:PORT")
        return cls(client)

    async def ask(
        self, method: str, path: str, timeout: float, body: str | None = None, **query: str | int
    ) -> Reply:
        """Give the reply, whatever its status; raises Unavailable where none comes in time."""
        headers = {"content-type": "application/json"} if body is not None else {}
        request = self._client.build_request(
            method, path, content=body, params=query or None, headers=headers, timeout=timeout
        )
        with _failures(self._client):
            response = await self._client.send(request, stream=True)
            try:
                parts, size = [], 0
                async for part in response.aiter_bytes():
                    size += len(part)
                    if size > _MOST_REPLY:
                        raise Unavailable("the answer is too long")
                    parts.append(part)
            finally:
                await response.aclose()
            return Reply(response.status_code, b"".join(parts))

    @asynccontextmanager
    async def lines(
        self, path: str, silence: float, **query: str | int
    ) -> AsyncIterator[tuple[Reply, AsyncIterator[bytes]]]:
        """Follow a stream of lines; raises Unavailable after ``silence`` seconds without a byte."""
        timeout = httpx.Timeout(3.0, read=silence)
        request = self._client.build_request("GET", path, params=query or None, timeout=timeout)
        with _failures(self._client):
            response = await self._client.send(request, stream=True)
            try:
                body = b"" if response.status_code == 200 else (await response.aread())[:_MOST_REPLY]
                yield Reply(response.status_code, body), _lines(response)
            finally:
                await response.aclose()

    async def close(self) -> None:
        await self._client.aclose()


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for part in response.aiter_bytes():
        rest += part
        if b"\n" not in part:
            if len(rest) > _MOST_LINE:
                raise Unavailable("a line of the feed is too long")
            continue
        *whole, last = bytes(rest).split(b"\n")
        rest = bytearray(last)
        for line in whole:
            if line.strip():
                yield line


class _failures:  # noqa: N801 - reads as a statement: with _failures(client)
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, httpx.TimeoutException):
            raise Unavailable(f"{self._client.base_url} does not answer in time") from error
        if isinstance(error, RuntimeError) and self._client.is_closed:  # replaced while somebody still asked
            raise Unavailable(f"{self._client.base_url} is not asked any more in this way") from error
        if isinstance(error, (httpx.HTTPError, httpx.StreamError, ssl.SSLError, OSError)):
            raise Unavailable(f"{self._client.base_url}: {error or type(error).__name__}") from error
