"""One gateway's own small API, which its client serves; the one door to it."""

from __future__ import annotations

import asyncio
import json
import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgeward.domain_name import printable
from edgeward.errors import Unavailable
from edgeward.gateway.model import Gateway
from edgeward.sealing import Seal

_PATH: Final = "/.peter_sslers/nginx/shared_cache"
_SECONDS: Final = 5.0
_MOST_ANSWER: Final = 1024 * 1024


@dataclass(frozen=True)
class Cached:
    """What a gateway says of its shared cache, at most 1,024 entries; ``invalid`` names failed lately."""

    valid: int
    invalid: tuple[str, ...]
    autocert: int
    version: str
    failures_kept: float | None
    """How many seconds it keeps a failure, its workers' own memory included."""


class GatewayDoor:
    def __init__(self, gateway: Gateway, seal: Seal) -> None:
        import httpx  # with the first gateway: most controllers have none

        self.url = gateway.url
        self._extensions: dict[str, Any] = {}
        tls = gateway.tls
        if tls is not None and tls.server_name is not None:
            self._extensions["sni_hostname"] = tls.server_name
        auth = None
        if gateway.username is not None:
            password = gateway.password.reveal(seal).reveal() if gateway.password is not None else ""
            auth = httpx.BasicAuth(gateway.username, password)
        self._client = httpx.AsyncClient(
            auth=auth,
            verify=_context(gateway),
            timeout=_SECONDS,
            trust_env=False,
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def expire_all(self) -> None:
        """Empty its shared cache; raises Unavailable.

        The client's ``expire/domain/NAME`` answers success and removes nothing: it deletes NAME, while
        entries are called NAME:c and NAME:k.
        """
        answer = await self._asked("/expire/all")
        if answer.get("result") != "success" or answer.get("expired") != "all":
            raise Unavailable(f"{self.url}: it did not say that its cache was emptied")

    async def cached(self) -> Cached:
        """Read its status; raises Unavailable."""
        answer = await self._asked("/status")
        try:
            keys = answer["keys"]
            kept = sum(float(number) for number in answer["config"]["expiries"].values())
            return Cached(
                len(keys["valid"]),
                tuple(str(name) for name in keys["invalid"]),
                len(keys["autocert"]),
                printable(str(answer.get("server_version"))),
                kept if kept and math.isfinite(kept) else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Unavailable(f"{self.url}: its status is not the client's") from error

    async def _asked(self, path: str) -> Mapping[str, Any]:
        import httpx

        try:
            async with asyncio.timeout(_SECONDS):  # that of the client is between two bytes
                return _read(self.url, *await self._body(path))
        except (httpx.TimeoutException, TimeoutError) as error:
            raise Unavailable(f"{self.url}: no answer within {_SECONDS:g} s") from error
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            OSError,
            ValueError,
        ) as error:  # the last: of a name's IDNA
            raise Unavailable(f"{self.url}: {printable(str(error) or type(error).__name__)}") from error

    async def _body(self, path: str) -> tuple[int, bytes]:
        body = b""
        async with self._client.stream("GET", f"{self.url}{_PATH}{path}", extensions=self._extensions) as got:
            async for part in got.aiter_bytes():
                body += part
                if len(body) > _MOST_ANSWER:
                    raise Unavailable(f"{self.url}: its answer does not end")
            return got.status_code, body


def _read(url: str, status: int, body: bytes) -> Mapping[str, Any]:
    if status == 401:
        raise Unavailable(f"{url}: it refuses username and password")
    if status == 500:
        raise Unavailable(
            f'{url}: it answers 500; has its location for expire `set $location "{_PATH}/expire"`?'
        )
    if status != 200:
        raise Unavailable(f"{url}: it answers {status}; is {_PATH} served there?")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unavailable(f"{url}: it does not answer as the client does")
    return found


def _context(gateway: Gateway) -> ssl.SSLContext:
    tls = gateway.tls
    context = ssl.create_default_context(cadata=tls.ca if tls is not None else None)
    if tls is not None and not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
