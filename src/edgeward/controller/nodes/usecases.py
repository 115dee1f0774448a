"""The use cases of nodes: join, be labelled, report, answer, be waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import delete, insert, select, update

from edgeward.access import store as tokens
from edgeward.access.authenticate import Authenticator
from edgeward.access.model import EVERY_PROJECT, Principal, Token
from edgeward.access.tokens import mint
from edgeward.controller.at_once import OpenAtOnce
from edgeward.controller.nodes import registry as views
from edgeward.controller.nodes import root_logs
from edgeward.controller.nodes.reading import Looks, labels_of, with_name
from edgeward.controller.nodes.registry import Registry
from edgeward.controller.nodes.streams import Streams
from edgeward.database import schema
from edgeward.database.engine import Database, Writing, current_revision
from edgeward.declaration import audit, events, store, told
from edgeward.declaration.feed import Answer, Identity, Report
from edgeward.declaration.model import Key
from edgeward.errors import Conflict, NotFound, Refused
from edgeward.log import logger
from edgeward.placement import NAME
from edgeward.vpn import store as tunnels

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
        self._registry = registry
        self._access = access
        self._roots = roots
        self._clock = clock
        self._note = note
        self.root_logs = root_logs.RootLogs(database, clock)
        self._waits = OpenAtOnce("waits", _MOST_WAITS)
        self.urls: Callable[[], Sequence[str]] = tuple
        """Give the URLs of all controllers that are there."""
        self.tier_keys: Callable[[str], Awaitable[Sequence[bytes]]] = _no_keys
        """Gives a node the keys of the tier in Redis."""
        self.streams = Streams(database, looks, registry, access, clock, lambda: self.urls())

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
        self._waits.check(who)
        with self._waits.counted(who):
            if unlike is None:
                await self._registry.until(lambda: views.settled(self._registry, revision), timeout)
            else:
                await self._registry.until(lambda: self._waited(who, revision)["state"] != unlike, timeout)
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
        return await self.streams.watched(who, since, store_id, protocol)

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


async def _no_keys(_node: str) -> Sequence[bytes]:
    return ()


async def _labels(writing: Writing, name: str) -> Mapping[str, str]:
    query = select(_nodes.c.labels).where(_nodes.c.name == name)
    stored = (await writing.connection.execute(query)).scalar_one_or_none()
    if stored is None:
        raise NotFound(f"no node named '{name}' has joined")
    return with_name(name, stored)


async def _label(writing: Writing, name: str, labels: Mapping[str, str]) -> None:
    values = {"labels": store.json_text(labels), "labelled": await writing.next_revision()}
    await writing.connection.execute(update(_nodes).where(_nodes.c.name == name).values(values))
