"""The controllers this node knows, and which of them to turn to: one at a time, another when that fails."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from edgeward.declaration.feed import Identity
from edgeward.errors import EdgewardError, Invalid, Refused, Unavailable
from edgeward.log import logger
from edgeward.node.controllers import identity as identities
from edgeward.node.http import HttpClient

log = logger(__name__)
_FIRST_PAUSE, _MOST_PAUSE, _FIRST_PAUSE_REFUSED, _MOST_PAUSE_REFUSED = 0.1, 2.0, 1.0, 10.0
_MOST = 32
_PROBE_SECONDS = 2.0
UNREACHED = "the controller has not been reached yet"


class Controller:
    """One of them: how to ask it, what it speaks, and when to try it again after it failed."""

    def __init__(self, url: str, client: HttpClient) -> None:
        self.url = url
        self.client = client
        self.protocol = 1
        self.retry_at = 0.0
        self._pause = 0.0

    def failed(self, error: EdgewardError, now: float) -> None:
        refused = isinstance(error, Refused)
        first, most = (_FIRST_PAUSE_REFUSED, _MOST_PAUSE_REFUSED) if refused else (_FIRST_PAUSE, _MOST_PAUSE)
        self._pause = min(max(self._pause * 2, first), most)
        self.retry_at = now + self._pause * random.uniform(0.3, 1.0)  # noqa: S311 - spreads reconnects

    def works(self) -> None:
        """Note that it may be tried again at once, should it fail after all this time."""
        self._pause, self.retry_at = 0.0, 0.0

    async def ready(self) -> bool:
        try:
            return (await self.client.ask("GET", "/readyz", _PROBE_SECONDS)).status == 200
        except Unavailable:
            return False


class Controllers:
    """Read from the identity's file, which a controller on this host, or a feed, brings up to date.

    ``given`` are those that whoever started this node named. Every node prefers another one: by that
    they spread.
    """

    def __init__(self, file: Path, given: Sequence[str], clock: Callable[[], float]) -> None:
        self._file = file
        self._given = tuple(given)
        self._clock = clock
        self._all: dict[str, Controller] = {}
        self._preferred: str | None = None
        self._learning = asyncio.Lock()
        self.identity: Identity | None = None

    @property
    def name(self) -> str:
        """This node's; raises Unavailable where it is not known yet."""
        if self.identity is None:
            raise Unavailable(UNREACHED)
        return self.identity.name

    async def refresh(self) -> None:
        """Take the identity as it stands in its file; raises Unavailable where there is none yet."""
        found = identities.load(self._file)
        if found is None:
            raise Unavailable("this node has not joined yet")
        if found == self.identity:
            return
        before = self.identity
        same = before is not None and (before.token, before.ca) == (found.token, found.ca)
        kept = {url: c for url, c in self._all.items() if same}
        urls = spread(found.name, (found.controller, *self._given, *found.controllers))
        fresh = {u: kept.get(u) or Controller(u, _client(u, found)) for u in urls}
        gone = [c for c in self._all.values() if c not in fresh.values()]
        self._all, self.identity = fresh, found
        for controller in gone:
            await controller.client.close()

    def candidates(self) -> list[Controller]:
        """Give all of them, the one to turn to first: the preferred, then those that did not fail lately."""
        now = self._clock()
        order = {url: place for place, url in enumerate(self._all)}
        return sorted(
            self._all.values(),
            key=lambda c: (max(0.0, c.retry_at - now), c.url != self._preferred, order[c.url]),
        )

    def prefer(self, controller: Controller | None) -> None:
        self._preferred = controller.url if controller is not None else None

    async def learn(self, urls: Sequence[str]) -> None:
        """Remember which controllers there are, as one of them says; none: it does not know."""
        async with self._learning:
            identity = self.identity
            if identity is None or not urls:
                return
            here = any(_is_loopback(url) for url in self._all)
            kept = tuple(sorted({u.rstrip("/") for u in urls if here or not _is_loopback(u)}))[:_MOST]
            if not kept or kept == identity.controllers:
                return
            try:
                await self.remember(controllers=kept)
            except (Invalid, Unavailable) as error:
                log.warning("the other controllers are not remembered", problem=str(error))
                return
            log.info("the controllers there are", controllers=list(kept))

    async def remember(self, **fields: object) -> None:
        """Change the identity's file; raises Unavailable or Invalid where that cannot be."""
        found = await asyncio.to_thread(identities.load, self._file)
        if found is not None:  # a controller on this host may have written it meanwhile
            await asyncio.to_thread(identities.save, self._file, found.model_copy(update=fields))
            await self.refresh()

    async def better(self, than: Controller) -> Controller | None:
        """Give another one that is ready, if there is one; they are asked all at once."""
        others = [c for c in self.candidates() if c is not than]
        answers = await asyncio.gather(*(c.ready() for c in others))
        return next((c for c, ready in zip(others, answers, strict=True) if ready), None)

    async def close(self) -> None:
        for controller in self._all.values():
            await controller.client.close()


def spread(name: str, urls: Iterable[str]) -> list[str]:
    """Give URLs once each in the order in which the node of this name prefers them: one on its own host
    first, the others in an order of its own.
    """

    def place(url: str) -> tuple[bool, bytes]:
        return not _is_loopback(url), hashlib.sha256(f"{name} {url}".encode()).digest()

    return sorted({url.rstrip("/") for url in urls}, key=place)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _client(url: str, identity: Identity) -> HttpClient:
    return HttpClient.over_tls(url, identity.ca, identity.token)
