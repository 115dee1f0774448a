"""Which gateways of tunnels each node has: made of what is declared, and told to the nodes that follow."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import store as certificates
from edgeward.certificates.model import Certificate
from edgeward.controller.declared.state import State
from edgeward.controller.nodes.registry import Registry
from edgeward.database.engine import Database, current_revision
from edgeward.declaration.feed import Gateways as Message
from edgeward.declaration.model import Key
from edgeward.errors import EdgewardError, Invalid
from edgeward.kinds import OF_TUNNELS
from edgeward.log import logger
from edgeward.parsing import Value
from edgeward.placement import Where, holds, where
from edgeward.sealing import Seal
from edgeward.secret import Secret
from edgeward.vpn import translate
from edgeward.vpn.desired import Gateway
from edgeward.vpn.naming import Router
from edgeward.vpn.openstack import translate as openstack
from edgeward.vpn.proof import Held
from edgeward.vpn.site import Site
from edgeward.vpn.translate import Drawn, Reveal

_MESSAGE_BYTES: Final = 1 << 20
_LOOK: Final = 0.5
_log = logger("edgeward.controller.tunnels.gateways")


class Translation(NamedTuple):
    """How gateways come of some kinds of objects; pure functions."""

    grouped: Callable[[Iterable[Value]], Mapping[Router, Sequence[Any]]]
    """Gives for each router the objects that its gateway is made of."""
    drawn: Callable[[Router, Sequence[Any], Reveal], Drawn]


TRANSLATIONS: Final[Sequence[Translation]] = (
    Translation(translate.grouped, translate.drawn),
    Translation(openstack.grouped, openstack.drawn),
)


@dataclass(frozen=True)
class Made:
    """A gateway with what it was made of; ``mark`` tells whether it is another one than before."""

    of: tuple[Value, ...]
    gateway: Gateway
    nodes: Where
    mark: str
    size: int


class Gateways:
    """Knows all gateways. One that cannot be made, because a secret does not open, stays as nodes have it."""

    def __init__(
        self, database: Database, state: State, registry: Registry, seal: Seal, roots: Callable[[], str]
    ) -> None:
        self._database = database
        self._roots = roots
        self._state = state
        self._registry = registry
        self._seal = seal
        self._made: dict[str, Made] = {}
        self._broken: set[str] = set()
        self._seen = (-1, -1)
        self._held: dict[str, Held] = {}
        self._held_at = (-1, -1)
        self._busy = asyncio.Lock()
        self._joined: dict[str, Mapping[str, str]] = {}

    async def run(self) -> None:
        """Have feeds look again when nodes join or are forgotten, until cancelled."""
        while True:
            joined = {n.name: n.labels for n in self._registry}
            if joined != self._joined:
                self._joined = joined
                if self._made:
                    self.look_again()
            with suppress(EdgewardError):  # the feeds, which need it more, say so
                await self._refresh()  # certificates come without anything being declared
            await asyncio.sleep(_LOOK)

    def look_again(self) -> None:
        """Have all feeds look again: which nodes share a gateway may have changed."""
        for node in self._registry:
            if node.stream is not None:
                node.stream.gateways.set()

    def now(self) -> list[Gateway]:
        """Give all gateways as they are declared now."""
        if (version := self._version) != self._seen:
            self._take(version, *self._make(self._values()))
        return [made.gateway for made in self._made.values()]

    async def foreseen(self, changes: Mapping[Key, Value | None]) -> tuple[list[Gateway], Mapping[str, str]]:
        """Give all gateways as they would be after these changes, and of which certificate each still waits,
        by its id: that is made as if it were there."""
        values = {key: stored.value for key, stored in self._state.tunnelled.items()}
        for key, value in changes.items():
            if value is None:
                values.pop(key, None)
            elif key.kind in OF_TUNNELS:
                values[key] = value
        used = _used(values.values())
        held = {(one.project, one.name): one for one in self._held.values()}
        if missing := used - set(held):
            async with self._database.reading() as connection:
                found = await self._found(connection, missing)
            held |= {(one.project, one.name): one for one in found.values()}
        waits = used - set(held)
        made, _ = self._make([*values.values(), *held.values(), *(_stand_in(*key) for key in waits)])
        parts = [(id_, part) for id_, one in made.items() for part in one.of if isinstance(part, Held)]
        waiting = {id_: part.name for id_, part in parts if (part.project, part.name) in waits}
        return [one.gateway for one in made.values()], waiting

    async def of(self, labels: Mapping[str, str]) -> tuple[dict[str, tuple[Made, bool]], frozenset[str]]:
        """Give the gateways that a node of these labels has, by id, each with whether other nodes have it
        too; and the ids of those that cannot be made now.

        A node that is not connected may have it active all the same: its lease decides, see holding.py.
        """
        await self._refresh()
        shared: dict[Where, bool] = {}
        found = {}
        for id_, made in self._made.items():
            if holds(made.nodes, labels):
                if made.nodes not in shared:
                    shared[made.nodes] = sum(holds(made.nodes, node.labels) for node in self._registry) > 1
                found[id_] = (made, shared[made.nodes])
        return found, frozenset(self._broken)

    async def _refresh(self) -> None:
        async with self._busy:
            await self._hold()
            version = self._version
            if version != self._seen:
                self._take(version, *await asyncio.to_thread(self._make, self._values()))

    @property
    def _version(self) -> tuple[int, int]:
        return self._state.tunnels_version, self._held_at[1]

    async def _hold(self) -> None:
        """Look at the certificates that sites use, where anything may have changed."""
        used = _used(stored.value for stored in self._state.tunnelled.values())
        if not used and not self._held:
            return
        async with self._database.reading() as connection:
            at = (self._state.tunnels_version, await current_revision(connection))
            if at == self._held_at:
                return
            held = await self._found(connection, used)
        self._held = {n: before if (before := self._held.get(n)) == one else one for n, one in held.items()}
        self._held_at = at

    async def _found(self, connection: AsyncConnection, used: Set[tuple[str, str]]) -> Mapping[str, Held]:
        """Give those of some certificates, by project and name, that are there."""
        found = await certificates.find_all(connection, self._seal, {n for _, n in used}, time.time())
        held = {n: _held(n, found[n].certificate, self._roots()) for _, n in used if n in found}
        return {n: one for n, one in held.items() if (one.project, n) in used}

    def _values(self) -> list[Value]:
        return [*(stored.value for stored in self._state.tunnelled.values()), *self._held.values()]

    def _take(self, version: tuple[int, int], made: dict[str, Made], broken: set[str]) -> None:
        if version > self._seen:
            self._made, self._broken, self._seen = made, broken, version

    def _make(self, values: Sequence[Value]) -> tuple[dict[str, Made], set[str]]:
        made: dict[str, Made] = {}
        broken: set[str] = set()
        for translation in TRANSLATIONS:
            for router, members in translation.grouped(values).items():
                before = self._made.get(router.id)
                if before is not None and _same(before.of, members):
                    made[router.id] = before
                    continue
                try:
                    drawn = translation.drawn(router, members, lambda sealed: sealed.reveal(self._seal))
                except (Invalid, ValidationError) as error:  # what is declared got past its checks
                    _log.error("a gateway cannot be made", gateway=str(router), reason=str(error))
                    broken.add(router.id)
                    continue
                made[router.id] = _marked(tuple(members), drawn)
        return made, broken


class Telling:
    """What one feed told its node of gateways; ``news`` gives what is to be told now."""

    def __init__(self, gateways: Gateways, labels: Mapping[str, str]) -> None:
        self._gateways = gateways
        self._labels = labels
        self._told: dict[str, tuple[str, bool]] | None = None

    async def news(self) -> Sequence[Message]:
        found, broken = await self._gateways.of(self._labels)
        whole = self._told is None and not broken
        told = {} if self._told is None else self._told
        wanted = {id_: (made.mark, shared) for id_, (made, shared) in found.items()}
        put = [found[id_] for id_, mark in wanted.items() if told.get(id_) != mark]
        gone = [id_ for id_ in told if id_ not in wanted and id_ not in broken]
        self._told = {**{id_: told[id_] for id_ in told if id_ in broken}, **wanted}
        if not (put or gone or whole):
            return ()
        return list(_messages(put, gone, whole))


def _messages(put: Sequence[tuple[Made, bool]], gone: Sequence[str], whole: bool) -> Iterator[Message]:
    parts = list(_parts(put)) or [[]]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        yield Message(
            put=tuple(_dumped(made.gateway, shared) for made, shared in part),
            remove=tuple(gone) if last else (),
            whole=whole and index == 0,
            more=not last,
        )


def _parts(put: Sequence[tuple[Made, bool]]) -> Iterator[list[tuple[Made, bool]]]:
    part: list[tuple[Made, bool]] = []
    size = 0
    for one in put:
        if part and size + one[0].size > _MESSAGE_BYTES:
            yield part
            part, size = [], 0
        part.append(one)
        size += one[0].size
    if part:
        yield part


def _dumped(gateway: Gateway, shared: bool) -> dict[str, Any]:
    return {**gateway.model_dump(mode="json"), "active": not shared, "shared": shared}


def _marked(of: tuple[Value, ...], drawn: Drawn) -> Made:
    text = drawn.gateway.model_dump_json()
    mark = hashlib.sha256(text.encode()).hexdigest()[:32]
    return Made(of, drawn.gateway, where(drawn.nodes), mark, len(text))


def _held(name: str, certificate: Certificate, roots: str) -> Held:
    one = certificate
    return Held(name=name, project=one.project, chain=one.chain, key=one.key, roots=roots)


def _used(values: Iterable[Value]) -> Set[tuple[str, str]]:
    """Give project and name of the certificates that sites use."""
    sites = (value for value in values if isinstance(value, Site))
    return {(site.project, site.certificate.name) for site in sites if site.certificate is not None}


def _stand_in(project: str, name: str) -> Held:
    return Held(name=name, project=project, chain="", key=Secret(""), roots="")


def _same(one: Sequence[Value], other: Sequence[Value]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
