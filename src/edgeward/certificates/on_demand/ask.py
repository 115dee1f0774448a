"""Asks a URL whether a name may have a certificate, as Caddy's on-demand TLS does; answers are remembered."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from edgeward.errors import EdgewardError, Refused, Unavailable
from edgeward.log import logger

if TYPE_CHECKING:
    import httpx

_SECONDS: Final = 5.0
_YES_SECONDS: Final = 60.0
_NO_SECONDS: Final = 10.0
_TROUBLE_SECONDS: Final = 1.0
_MOST_REMEMBERED: Final = 100_000
_MOST_AT_ONCE: Final = 32
_LOG_SECONDS: Final = 10.0
_log = logger("edgeward.certificates.on_demand.ask")


@dataclass(frozen=True, slots=True)
class _Answer:
    until: float
    error: EdgewardError | None


class Asker:
    """``learn`` asks, ``said`` tells what is known. Of each name once, however many want to know."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: OrderedDict[tuple[str, str], _Answer] = OrderedDict()
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)
        self._client: httpx.AsyncClient | None = None
        self._last_log = float("-inf")

    def knows(self, url: str, name: str) -> bool:
        """Say whether there is an answer that still holds."""
        found = self._answers.get((url, name))
        return found is not None and found.until > self._clock()

    def said(self, url: str, name: str) -> None:
        """Raise Refused where the answer was no, Unavailable where there is none."""
        found = self._answers.get((url, name))
        if found is None or found.until <= self._clock():
            raise Unavailable(f"whether {name} may have a certificate is not known yet; try again")
        if found.error is not None:
            raise type(found.error)(*found.error.args)

    async def learn(self, url: str, name: str) -> None:
        """Ask, unless there is an answer that still holds."""
        try:
            async with asyncio.timeout(2 * _SECONDS), self._places:
                if self.knows(url, name):
                    return
                await self._asked(url, name)
        except TimeoutError:
            self._remember(url, name, _TROUBLE_SECONDS, self._trouble(url, "too many names are asked about"))

    async def _asked(self, url: str, name: str) -> None:
        import httpx  # with the first question: most controllers have none

        try:
            asked = httpx.URL(url).copy_set_param("domain", name)
            async with asyncio.timeout(_SECONDS):
                # streamed: the status is the answer, and a body of any length is not read
                async with self._opened().stream("GET", asked) as response:
                    status = response.status_code
        except TimeoutError:
            self._remember(url, name, _TROUBLE_SECONDS, self._trouble(url, "no answer in time"))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # the last: no URL at all
            reason = str(error) or type(error).__name__
            self._remember(url, name, _TROUBLE_SECONDS, self._trouble(url, reason))
        else:
            if status == 200:
                self._remember(url, name, _YES_SECONDS, None)
            else:
                refused = Refused(f"{place(url)} does not allow a certificate for {name} (status {status})")
                self._remember(url, name, _NO_SECONDS, refused)

    def _remember(self, url: str, name: str, seconds: float, error: EdgewardError | None) -> None:
        self._answers[url, name] = _Answer(self._clock() + seconds, error)
        self._answers.move_to_end((url, name))
        if len(self._answers) > _MOST_REMEMBERED:
            self._answers.popitem(last=False)

    def _trouble(self, url: str, reason: str) -> Unavailable:
        if self._clock() - self._last_log >= _LOG_SECONDS:
            self._last_log = self._clock()
            _log.warning("asking whether names may have certificates fails", url=place(url), reason=reason)
        return Unavailable(f"{place(url)}, which is asked about new names, fails: {reason}")

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx

            limits = httpx.Limits(max_connections=_MOST_AT_ONCE, max_keepalive_connections=8)
            self._client = httpx.AsyncClient(
                timeout=_SECONDS, limits=limits, follow_redirects=False, trust_env=False
            )
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def place(url: str) -> str:
    """Give the URL without its query, which may hold a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0]
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
