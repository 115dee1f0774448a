"""The use cases of nodes: join, follow, report, be asked, be waited for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import delete, insert, select, update

from edgeward import __version__
from edgeward.access import store as tokens
from edgeward.access.authenticate import Authenticator
from edgeward.access.model import EVERY_PROJECT, Principal, Token
from edgeward.access.tokens import mint
from edgeward.controller.nodes import registry as views
from edgeward.controller.nodes import root_logs
from edgeward.controller.nodes.feed import Feed, line
from edgeward.controller.nodes.reading import Looks, labels_of, with_name
from edgeward.controller.nodes.registry import Registry, Stream
from edgeward.controller.tunnels import gateways
from edgeward.database import schema
from edgeward.database.engine import Database, Writing, current_revision
from edgeward.declaration import audit, events, store, told
from edgeward.declaration.feed import PROTOCOL, Answer, Hello, Identity, Ping, Report, Synced
from edgeward.declaration.model import Key
from edgeward.errors import Conflict, NotFound, Refused, Unavailable
from edgeward.log import logger
from edgeward.parsing import Value
from edgeward.placement import NAME
from edgeward.vpn import store as tunnels

_PING: Final = 2.0
_LOOK_READY: Final = 1.0
_CHECK_TOKEN: Final = 1.0
_GATHER: Final = 0.02
_MOST_WAITS: Final = 50
_log = logger("edgeward.controller.nodes.usecases")
_nodes = schema.nodes


class Nodes:
    """``roots`` gives the PEM of the authority that nodes are to trust, ``note`` writes what they say."""

    def __init__(
        self,
        database: Database,
        looks: Looks,
        registry: Registry,
        access: Authenticator,
        roots: Callable[[], str],
        clock: Callable[[], float],
        note: Callable[[str, Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        self._database = database
        self._looks = looks
        self._registry = registry
        self._access = access
        self._roots = roots
        self._clock = clock
        self._note = note
        self.root_logs = root_logs.RootLogs(database, clock)
        self._waits: Counter[str] = Counter()
        self._ready_at = float("-inf")
        self._ready = True
        self.urls: Callable[[], Sequence[str]] = tuple
        """Give the URLs of all controllers that are there."""
        self.ready: Callable[[], Awaitable[str | None]] = _always
        self.gateways: gateways.Gateways | None = None
        self.tier_keys: Callable[[str], Awaitable[Sequence[bytes]]] = _no_keys
        """Gives a node the keys of the tier in Redis."""
        """Give None when ready, else the reason why not."""

    async def load(self) -> None:
        """Take in the nodes that joined before this start."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(_nodes))).all()
        for row in rows:
            report = None
            with suppress(ValidationError):  # written by another version
                report = Report.model_validate_json(row.report)
            known = self._registry.know(row.name, row.joined, row.seen, report)
            known.labels = with_name(row.name, row.labels)

    # --- for people ------------------------------------------------------------------------

    async def listed(self, who: Principal) -> Sequence[Mapping[str, Any]]:
        return [views.shown(self._registry, node, who.projects) for node in self._registry]

    async def found(self, who: Principal, name: str) -> Mapping[str, Any]:
        node = self._registry.find(name)
        if node is None:
            raise NotFound(f"no node named '{name}' has joined")
        return views.shown(self._registry, node, who.projects)

    async def forgotten(self, who: Principal, name: str) -> None:
        async with self._database.writing() as writing:
            if self._registry.find(name) is None:
                raise NotFound(f"no node named '{name}' has joined")
            revoked = await self._revoke(writing, name)
            await writing.connection.execute(delete(_nodes).where(_nodes.c.name == name))
            await root_logs.forget(writing, name)
            await tunnels.forget_node(writing, name)
            await self._record(writing, who, "forget", name)
            await writing.tell("node", name)
        self._drop(revoked)
        self._registry.forget(name)

    async def labelled(self, who: Principal, name: str, labels: Mapping[str, str]) -> Mapping[str, Any]:
        """Say what a node is, in place of what was said before: it serves what selects these labels."""
        async with self._database.writing() as writing:
            before = await _labels(writing, name)
            if before != {**labels, NAME: name}:
                await _label(writing, name, labels)
                await self._record(writing, who, "label", name, before, labels)
                await writing.tell("node", name)
        self._registry.label(name, {**labels, NAME: name})
        return await self.found(who, name)

    async def label_more(self, name: str, more: Mapping[str, str]) -> None:
        """Set some labels of the node on this host, as whoever starts the controller says."""
        async with self._database.reading() as connection:
            now = await labels_of(connection, name)
        if more and any(now.get(key) != value for key, value in more.items()):
            labels = {key: value for key, value in now.items() if key != NAME} | dict(more)
            await self.labelled(Principal("", "controller", "admin", EVERY_PROJECT), name, labels)

    async def logged(self, who: Principal, name: str) -> Mapping[int, str]:
        await self.found(who, name)
        return await self.root_logs.of(name)

    async def waited(
        self, who: Principal, revision: int, timeout: float, unlike: str | None = None
    ) -> Mapping[str, Any]:
        if self._waits[who.token_id] >= _MOST_WAITS:
            raise Unavailable(f"this token waits {_MOST_WAITS} times already; let one of them end")
        self._waits[who.token_id] += 1
        try:
            if unlike is None:
                await self._registry.until(lambda: views.settled(self._registry, revision), timeout)
            else:
                await self._registry.until(lambda: self._waited(who, revision)["state"] != unlike, timeout)
        finally:
            self._waits[who.token_id] -= 1
            self._waits += Counter()  # keeps those above zero
        return self._waited(who, revision)

    def _waited(self, who: Principal, revision: int) -> Mapping[str, Any]:
        return views.waited(self._registry, revision, who.projects)

    def follows_another(self, name: str) -> bool:
        """Say whether a node of this name is connected to another controller."""
        node = self._registry.find(name)
        return node is not None and node.elsewhere is not None and self._registry.connected(node)

    # --- for nodes -------------------------------------------------------------------------

    async def joined(self, who: Principal, name: str, controller: str) -> Identity:
        """Give a node its identity; one that is connected under this name is not pushed aside."""
        node = self._registry.find(name)
        if node is not None and self._registry.connected(node):
            raise Conflict(f"a node named '{name}' is connected; choose another name, or forget that one")
        labels = await self._granted(who, name)
        identity = await self.identity(name, controller, who.name, labels)
        _log.info("node joined", node=name, by=who.name, labels=labels)
        return identity

    async def _granted(self, who: Principal, name: str) -> dict[str, str]:
        """Give the labels that a join token says; raises Refused where it is for another name.

        A node that joins again has no others: who has just any join token must not come by the keys of a
        node that is away.
        """
        async with self._database.reading() as connection:
            found = await tokens.find(connection, who.token_id)
        labels = dict((found[0].labels if found is not None else None) or {})
        if labels.pop(NAME, name) != name:
            raise Refused(f"this join token is for a node of another name than '{name}'")
        return labels

    async def identity(
        self, name: str, controller: str, by: str, labels: Mapping[str, str] | None = None
    ) -> Identity:
        """Make a token for a node, in place of any it had, and give its identity.

        ``labels`` replace those it had; None leaves them.
        """
        now = self._clock()
        minted = mint()
        title = f"node-{minted.id}-{name}"[:100]
        token = Token(minted.id, title, "node", EVERY_PROJECT, name, now, None, None)
        async with self._database.writing() as writing:
            revoked = await self._revoke(writing, name)
            await tokens.add(writing, token, minted.hash, now)
            row_of_node = update(_nodes).where(_nodes.c.name == name)
            if (await writing.connection.execute(row_of_node.values(seen=now))).rowcount == 0:
                row = {"name": name, "joined": now, "seen": now, "report": ""}
                await writing.connection.execute(insert(_nodes).values(row))
            before = await _labels(writing, name)
            if labels is not None and before != {**labels, NAME: name}:
                await _label(writing, name, labels)
                before = {**labels, NAME: name}
            who = Principal("", by, "node", EVERY_PROJECT)
            await self._record(writing, who, "join", name)
            await writing.tell("node", name)
        self._drop(revoked)
        self._registry.know(name, now, now, None)
        self._registry.label(name, before)
        return Identity(
            name=name,
            controller=controller,
            token=minted.text.reveal(),
            ca=self._roots(),
            controllers=tuple(self.urls()),
        )

    async def reported(self, who: Principal, report: Report) -> None:
        assert who.node is not None
        await self.root_logs.note(who.node, report.root_log)
        if not await self._registry.reported(who.node, report):
            return
        await self._note(who.node, {"seen": self._clock(), "report": report.model_dump_json()})

    async def opening(self, who: Principal) -> Sequence[bytes]:
        assert who.node is not None
        return await self.tier_keys(who.node)

    async def answered(self, who: Principal, answer: Answer) -> None:
        assert who.node is not None
        self._registry.answered(who.node, answer)

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
            controllers=tuple(self.urls()),
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
                except Unavailable as error:
                    _log.warning("the feed pauses", node=who.node, reason=str(error))
                    yield line(Ping(ready=False), stream.protocol)
                    await stream.pause(_PING)
                    continue
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

    async def _revoke(self, writing: Writing, name: str) -> list[str]:
        now = self._clock()
        live = [token.id for token in await tokens.of_node(writing.connection, name, now)]
        for token_id in live:
            await tokens.revoke(writing, token_id, now)
            await writing.tell("token", token_id)
        return live

    def _drop(self, revoked: Sequence[str]) -> None:
        for token_id in revoked:
            self._access.forget(token_id)
            self._registry.cut(token_id)

    async def _record(
        self,
        writing: Writing,
        who: Principal,
        action: str,
        name: str,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        key = Key("nodes", EVERY_PROJECT, name)
        entry = audit.Entry(who.name, "api", action, key, before, after)
        await audit.record(writing, [entry], self._clock())
        what = {"join": "joined", "forget": "forgotten", "label": "labelled"}.get(action, action)
        more = {} if after is None else {"labels": dict(after)}
        happened = told.of_node(name, what, self._clock(), None, **more)
        await events.record(writing, [happened], await current_revision(writing.connection), self._clock())


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


async def _no_keys(_node: str) -> Sequence[bytes]:
    return ()


async def _always() -> str | None:
    return None


async def _labels(writing: Writing, name: str) -> Mapping[str, str]:
    query = select(_nodes.c.labels).where(_nodes.c.name == name)
    stored = (await writing.connection.execute(query)).scalar_one_or_none()
    if stored is None:
        raise NotFound(f"no node named '{name}' has joined")
    return with_name(name, stored)


async def _label(writing: Writing, name: str, labels: Mapping[str, str]) -> None:
    values = {"labels": store.json_text(labels), "labelled": await writing.next_revision()}
    await writing.connection.execute(update(_nodes).where(_nodes.c.name == name).values(values))
