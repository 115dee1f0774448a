"""The node's line to its controller: the feed, certificates for new names, reports and answers."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from edgeward.declaration import feed
from edgeward.errors import EdgewardError, Invalid, NotFound, Refused, Unavailable
from edgeward.log import logger
from edgeward.node import identity as identities
from edgeward.node.following import Following, certificate_of
from edgeward.node.http import HttpClient, Reply
from edgeward.node.secrets import Kept

log = logger(__name__)
_SILENCE_SECONDS = 15.0
_FIRST_PAUSE, _MOST_PAUSE, _MOST_PAUSE_REFUSED = 0.1, 2.0, 10.0
_POST_SECONDS = 5.0
_SAY_SECONDS = 60.0
_ROOTS_SECONDS = 3600.0
"""A new root is published long before it signs: asking each hour never misses it."""
_DOWN_SECONDS = 5.0
"""Without a feed, new names fail at once for so long after one has failed; a feed ends that."""
_PATIENCE_WITHOUT_FEED = 2.0
"""How long one name waits then: a controller that hangs takes connections and never answers."""


class Link:
    """``asked(ask)`` is called with each question of the controller."""

    def __init__(
        self, identity_file: Path, following: Following, asked: Callable[[feed.Ask], Awaitable[None]]
    ) -> None:
        self._file = identity_file
        self._following = following
        self._asked = asked
        self._identity: feed.Identity | None = None
        self._client: HttpClient | None = None
        self._down_until = 0.0
        self._said = float("-inf")
        self._roots_at = float("-inf")
        self.connected = False

    async def run(self) -> None:
        """Follow the feed for ever: after each cut again, from where it stopped."""
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                await self._follow()
            except Refused as error:
                log.error("the controller refuses this node", problem=str(error))
                pause = min(max(pause * 2, 1.0), _MOST_PAUSE_REFUSED)
            except EdgewardError as error:
                self._lost(error)
                pause = min(pause * 2, _MOST_PAUSE)
            finally:
                self.connected = False
            if time.monotonic() - began > 10:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects

    def _lost(self, error: EdgewardError) -> None:
        now = time.monotonic()
        if self.connected:
            log.warning("lost the controller; serving what is known", problem=str(error))
        elif now - self._said >= _SAY_SECONDS:
            log.warning("the controller cannot be followed; serving what is known", problem=str(error))
        else:
            return
        self._said = now

    async def _follow(self) -> None:
        await self._read_identity()
        client, name = self._ready()
        revision, store = self._following.since
        path = f"/v1/nodes/{quote(name)}/watch"
        try:
            async with client.lines(path, _SILENCE_SECONDS, since=revision, store=store) as (reply, lines):
                if reply.status != 200:
                    raise _kind(reply)
                self._down_until = 0.0
                async for line in lines:
                    await self._take(line)
            raise Unavailable("the controller ended the feed")
        finally:
            await self._following.ended()

    async def _take(self, line: bytes) -> None:
        try:
            message = feed.read(line)
        except ValidationError as error:
            raise Unavailable(f"a message of the feed is not understood: {error.errors()[:1]}") from error
        if isinstance(message, feed.ChangeMessage):
            await self._following.change(message)
        elif isinstance(message, feed.Synced):
            await self._following.completed(message)
        elif isinstance(message, feed.Ask):
            await self._asked(message)
        elif isinstance(message, feed.Hello):
            await self._following.hello(message)
            if not self.connected:
                log.info("following the controller", version=message.version)
            self.connected = True
        if self._following.must_begin_anew:
            raise Unavailable("the sealed copy is damaged; the whole state is taken anew")
        if time.monotonic() - self._roots_at >= _ROOTS_SECONDS:
            self._roots_at = time.monotonic()
            await self._renew_roots()

    async def _renew_roots(self) -> None:
        """Keep the authority's roots as the controller, trusted by those of before, publishes them."""
        client, _ = self._ready()
        identity = self._identity
        try:
            reply = await client.ask("GET", "/v1/ca/root", _POST_SECONDS)
            roots = reply.body.decode()
            if identity is None or reply.status != 200 or roots == identity.ca:
                return
            ssl.create_default_context(cadata=roots)
            renewed = identity.model_copy(update={"ca": roots})
            await asyncio.to_thread(identities.save, self._file, renewed)
        except (Unavailable, UnicodeDecodeError, ssl.SSLError) as error:
            log.warning("the authority's roots are as before", problem=str(error))
            return
        log.info("the authority's roots are renewed")

    async def obtain(self, name: str, timeout: float) -> Kept:
        """Have the controller give, or get, a certificate for a canonical name.

        Raises Refused or NotFound where policy has none for it, Unavailable where there is trouble.
        """
        if time.monotonic() < self._down_until:
            raise Unavailable("the controller does not answer")
        client, _ = self._ready()
        path = f"/v1/certificates/{quote(name)}/obtain"
        if not self.connected:
            timeout = min(timeout, _PATIENCE_WITHOUT_FEED)
        try:
            reply = await client.ask("POST", path, timeout)
        except Unavailable:
            if not self.connected:
                self._down_until = time.monotonic() + _DOWN_SECONDS
            raise
        if reply.status == 401:
            raise Unavailable("the controller refuses this node's token")
        if reply.status not in (200, 201):
            raise _kind(reply)
        value = reply.json()
        try:
            return certificate_of(value, str(value["name"]), str(value["project"]), int(value["revision"]))
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable("the controller's certificate is not understood") from error

    async def report(self, report: feed.Report) -> None:
        """Tell the controller how this node is; raises Unavailable where it does not take it."""
        await self._post("report", report.model_dump_json())

    async def answer(self, answer: feed.Answer) -> None:
        await self._post("answers", answer.model_dump_json())

    async def _post(self, what: str, body: str) -> None:
        client, name = self._ready()
        reply = await client.ask("POST", f"/v1/nodes/{quote(name)}/{what}", _POST_SECONDS, body)
        if reply.status not in (200, 204):
            raise _kind(reply)

    async def _read_identity(self) -> None:
        """Take the identity as it stands in its file: a controller on this host renews it there."""
        found = identities.load(self._file)
        if found is None:
            raise Unavailable("this node has not joined yet")
        if found != self._identity:
            client = HttpClient.over_tls(found.controller, found.ca, found.token)
            await self.close()
            self._identity, self._client = found, client

    def _ready(self) -> tuple[HttpClient, str]:
        if self._client is None or self._identity is None:
            raise Unavailable("the controller has not been reached yet")
        return self._client, self._identity.name

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


def _kind(reply: Reply) -> EdgewardError:
    if reply.status in (401, 403):
        return Refused(reply.detail)
    if reply.status == 404:
        return NotFound(reply.detail)
    if reply.status in (400, 422):
        return Invalid(reply.detail)
    return Unavailable(reply.detail)
