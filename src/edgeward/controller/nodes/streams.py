"""What a node is sent while it is connected: changes, questions, gateways, and a ping in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from sqlalchemy import select

from edgeward import __version__
from edgeward.access.authenticate import Authenticator
from edgeward.access.model import Principal
from edgeward.controller.nodes.feed import Feed, line
from edgeward.controller.nodes.reading import Looks, with_name
from edgeward.controller.nodes.registry import Registry, Stream
from edgeward.controller.tunnels import gateways
from edgeward.database import schema
from edgeward.database.engine import Database
from edgeward.declaration import store
from edgeward.declaration.feed import PROTOCOL, Hello, Ping, Synced
from edgeward.errors import Unavailable
from edgeward.log import logger
from edgeward.parsing import Value

_PING: Final = 2.0
_LOOK_READY: Final = 1.0
_CHECK_TOKEN: Final = 1.0
_GATHER: Final = 0.02
_log = logger("edgeward.controller.nodes.streams")
_nodes = schema.nodes


class Streams:
    """The feeds of nodes; ``urls`` gives the URLs of all controllers that are there."""

    def __init__(
        self,
        database: Database,
        looks: Looks,
        registry: Registry,
        access: Authenticator,
        clock: Callable[[], float],
        urls: Callable[[], Sequence[str]],
    ) -> None:
        self._database = database
        self._looks = looks
        self._registry = registry
        self._access = access
        self._clock = clock
        self._urls = urls
        self._ready_at = float("-inf")
        self._ready = True
        self.ready: Callable[[], Awaitable[str | None]] = _always
        """Give None when ready, else the reason why not."""
        self.gateways: gateways.Gateways | None = None

    async def watched(
        self, who: Principal, since: int, store_id: str, protocol: int = 1
    ) -> AsyncIterator[bytes]:
        assert who.node is not None
        async with self._database.reading() as connection:
            state = await store.store(connection)
            query = select(_nodes.c.labels, _nodes.c.labelled).where(_nodes.c.name == who.node)
            row = (await connection.execute(query)).one_or_none()
        labels = with_name(who.node, "" if row is None else row.labels)
        reset = store_id != state.identity or since < state.floor or since > state.revision
        reset = reset or (row is not None and since < row.labelled)
        stream = await self._registry.begin(who.node, who.token_id)
        hello = Hello(
            store=state.identity,
            version=__version__,
            reset=reset,
            protocol=PROTOCOL,
            controllers=tuple(self._urls()),
        )
        stream.protocol = protocol
        return self._lines(who, stream, hello, Feed(self._looks, labels, 0 if reset else since))

    async def _lines(self, who: Principal, stream: Stream, hello: Hello, feed: Feed) -> AsyncIterator[bytes]:
        assert who.node is not None
        _log.info("node follows", node=who.node, since=feed.revision, reset=hello.reset)
        try:
            yield line(hello, stream.protocol)
            synced = False
            telling = None
            if self.gateways is not None and stream.protocol >= PROTOCOL:
                telling = gateways.Telling(self.gateways, feed.labels)
            while not stream.ended.is_set():
                try:
                    if not await self._goes_on(who, stream):
                        return
                    found = await feed.round()
                    if found.relabelled:
                        _log.info("the labels of a node changed; it begins anew", node=who.node)
                        return
                    for sent in found.lines:
                        yield sent
                    if found.complete and (found.messages or not synced):
                        synced = True
                        yield line(Synced(revision=found.revision))
                    if found.complete and telling is not None:
                        stream.gateways.clear()
                        for told in await telling.news():
                            yield line(told)
                    while found.complete and (said := await _quiet(self._database, stream, feed.revision)):
                        if isinstance(said, Ping):
                            said = Ping(ready=await self._is_ready())
                        yield line(said, stream.protocol)
                except Unavailable as error:
                    _log.warning("the feed pauses", node=who.node, reason=str(error))
                    yield line(Ping(ready=False), stream.protocol)
                    await stream.pause(_PING)
        finally:
            await asyncio.shield(self._registry.end(who.node, stream))
            _log.info("node left", node=who.node)

    async def _is_ready(self) -> bool:
        """Whether this controller is ready, looked at once a second for all nodes."""
        now = asyncio.get_running_loop().time()
        if now - self._ready_at >= _LOOK_READY:
            self._ready_at = now
            self._ready = await self.ready() is None
        return self._ready

    async def _goes_on(self, who: Principal, stream: Stream) -> bool:
        """Whether to go on; looks the token up at most once a second, and lets changes gather a little."""
        if not stream.ended.is_set() and self._clock() - stream.checked >= _CHECK_TOKEN:
            stream.checked = self._clock()
            if not await self._access.valid(who.token_id):
                return False
        await stream.pause(_GATHER)
        return not stream.ended.is_set()


async def _quiet(database: Database, stream: Stream, revision: int) -> Value | None:
    """Wait for a change, other gateways or the end (None); give a question that comes before, or a ping after
    2 s."""
    changed = asyncio.create_task(database.changed_since(revision, _PING))
    ended = asyncio.create_task(stream.ended.wait())
    asked = asyncio.create_task(stream.questions.get())
    others = asyncio.create_task(stream.gateways.wait())
    tasks: set[asyncio.Task[Any]] = {changed, ended, asked, others}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            return asked.result()
        quiet = changed.done() and not changed.result() and not others.done()
        return Ping() if quiet else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _always() -> str | None:
    return None
