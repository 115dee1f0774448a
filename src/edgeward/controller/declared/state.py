"""Everything declared, in memory: brought up to date inside the transaction that relies on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward import whereabouts
from edgeward.certificates.model import Alarms, Budgets, Cache, Domain
from edgeward.certificates.policy import Policy
from edgeward.database.engine import Database, current_revision
from edgeward.declaration import store
from edgeward.declaration.model import DEFAULT_PROJECT, Change, Key, Stored
from edgeward.declaration.store import Followed, Position
from edgeward.errors import EdgewardError, Problem
from edgeward.gateway.model import Listen, OpenResty
from edgeward.kinds import KINDS, OF_TUNNELS
from edgeward.log import logger
from edgeward.parsing import Value, problems_of
from edgeward.placement import Where
from edgeward.whereabouts import Moved, Place
from edgeward.world.checks import Conflicting, conflicts, problems
from edgeward.world.objects import World, selector_of
from edgeward.world.touch import touched_by

_PAGE: Final = 5000
_SMALL: Final = 300
_PAUSE: Final = 0.1
_LOOK_AGAIN: Final = 5.0
_log = logger("edgeward.controller.declared.state")

Values = Mapping[Key, Value]
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Outlook:
    """What changes would bring about: what no longer holds then and does hold now, and what moves to other
    nodes without being changed itself.
    """

    problems: Sequence[Problem]
    conflicts: Sequence[Conflicting]
    moved: Moved


class State:
    """The declared objects as of ``position``, which only moves on.

    Whoever holds the one write transaction and has called ``catch_up`` sees exactly what is stored.
    ``changed`` is called after every change.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.stored: dict[Key, Stored] = {}
        self.tunnelled: dict[Key, Stored] = {}
        """Those of them that gateways of tunnels are made of."""
        self.tunnels_version = 0
        """Grows whenever one of these changes."""
        self._world = World()
        self._position = Position(0)
        self._busy = asyncio.Lock()
        self._policy = Policy()
        self._changed = changed

    @property
    def world(self) -> World:
        """Everything declared, and, while large changes are looked at, what they would make of it."""
        return self._world

    @property
    def revision(self) -> int:
        return self._position.revision

    def policy(self) -> Policy:
        """Give what domains and issuers allow now."""
        return self._policy

    def listen(self) -> Listen:
        found = self.stored.get(Key("listen", DEFAULT_PROJECT, "listen"))
        return found.value if found is not None and isinstance(found.value, Listen) else Listen()

    def openresty(self) -> OpenResty | None:
        found = self.stored.get(Key("openresty", DEFAULT_PROJECT, "openresty"))
        return found.value if found is not None and isinstance(found.value, OpenResty) else None

    def cache(self) -> Cache:
        found = self.stored.get(Key("cache", DEFAULT_PROJECT, "cache"))
        return found.value if found is not None and isinstance(found.value, Cache) else Cache()

    def budgets(self) -> Budgets:
        found = self.stored.get(Key("budgets", DEFAULT_PROJECT, "budgets"))
        return found.value if found is not None and isinstance(found.value, Budgets) else Budgets()

    def alarms(self) -> Alarms:
        found = self.stored.get(Key("alarms", DEFAULT_PROJECT, "alarms"))
        return found.value if found is not None and isinstance(found.value, Alarms) else Alarms()

    async def catch_up(self, connection: AsyncConnection) -> None:
        """Take in what was committed since, as this connection sees it."""
        async with self._busy:
            while page := await store.changes_since(connection, self._position, _PAGE):
                values = await _aside(len(page), _read, page)
                await self._take(values, Position(page[-1].revision, page[-1].key))

    async def take(self, changes: Sequence[Change], values: Values, source: str, revision: int) -> None:
        """Take in one's own changes, just committed; does nothing where ``catch_up`` was faster."""
        async with self._busy:
            if revision > self._position.revision:
                fresh = {
                    c.key: None
                    if c.action == "delete"
                    else Stored(c.key, values[c.key], c.source(source), revision)
                    for c in changes
                }
                await self._take(fresh, Position(revision, max(fresh)))

    async def outlook(self, changes: Sequence[Change], values: Values) -> Outlook:
        """Say what these changes would bring about; nothing is changed."""
        async with self._busy:
            return await _aside(len(changes), self._outlook, changes, values)

    async def places(
        self, connection: AsyncConnection, keys: Collection[Key], names: Collection[str]
    ) -> tuple[int, Mapping[Key, Place], Mapping[str, Where]]:
        """Say where objects and certificates are used, as of the revision given first: at least what this
        connection sees.
        """
        await self.catch_up(connection)
        async with self._busy:
            places = {key: whereabouts.place(self._world, key) for key in keys}
            wheres = {name: whereabouts.of_certificate(self._world, name) for name in names}
            return self._position.revision, places, wheres

    def deciding(self, name: str) -> Domain | None:
        """Give the domain that decides about a canonical name."""
        return self._world.deciding(name)

    def selecting(self) -> list[tuple[list[Key], Mapping[str, Sequence[str]]]]:
        """Give the objects that say on which nodes they are served, together those that say the same."""
        groups = [list(keys) for keys in self._world.selecting()]
        found = ((keys, selector_of(self._world.get(keys[0]))) for keys in groups if keys)
        return [(keys, selector) for keys, selector in found if selector is not None]

    async def follow(self, database: Database) -> None:
        """Keep up with what others commit, until cancelled."""
        looked = self._position.revision
        while True:
            await database.changed_since(looked, _LOOK_AGAIN)
            try:
                async with database.reading() as connection:
                    looked = await current_revision(connection)  # certificates move it too, not us
                    await self.catch_up(connection)
                await database.saw(looked)  # where nobody told us: those who follow here wait for it
            except EdgewardError as error:
                _log.warning("the declared state cannot be read", reason=str(error))
            await asyncio.sleep(_PAUSE)

    async def _take(self, values: Mapping[Key, Stored | None], position: Position) -> None:
        checked = {key: None if stored is None else stored.value for key, stored in values.items()}
        await _aside(len(values), _set, self._world, checked)
        for key, stored in values.items():
            before = self.stored.pop(key, None) if stored is None else self.stored.get(key)
            if stored is not None:
                self.stored[key] = stored
            if key.kind in OF_TUNNELS:
                self._take_tunnelled(key, stored)
            self._policy.replace(before and before.value, stored and stored.value)
        self._position = position
        self._changed()

    def _take_tunnelled(self, key: Key, stored: Stored | None) -> None:
        self.tunnels_version += 1
        if stored is None:
            self.tunnelled.pop(key, None)
        else:
            self.tunnelled[key] = stored

    def _outlook(self, changes: Sequence[Change], values: Values) -> Outlook:
        world = self._world
        before = {c.key: world.get(c.key) for c in changes}
        after = {c.key: None if c.action == "delete" else values[c.key] for c in changes}
        then = whereabouts.before(world, {key: (value, after[key]) for key, value in before.items()})
        _set(world, after)
        moved = whereabouts.moved(world, then)
        touched = set(before)
        for key, value in before.items():
            touched |= touched_by(world, key, value, after[key])
        found = [p for key in touched for p in problems(world, key)]
        rivals = [c for key in before for c in conflicts(world, key)]
        _set(world, before)
        if found or rivals:  # what did not hold before must not stand in the way of everything else
            known = {p for key in touched for p in problems(world, key)}
            held = {c for key in before for c in conflicts(world, key)}
            fresh = sorted((p for p in found if p not in known), key=lambda p: (p.object or "", p.field))
            return Outlook(fresh, [c for c in rivals if c not in held], moved)
        return Outlook([], [], moved)


def _read(page: Sequence[Followed]) -> dict[Key, Stored | None]:
    """Give the objects of a page; one that is not valid any more counts as deleted."""
    values: dict[Key, Stored | None] = {}
    for followed in page:
        values[followed.key] = None
        kind = KINDS.get(followed.key.kind)
        if followed.value is None or kind is None:
            continue
        try:
            value = kind.model.model_validate(followed.value)
        except ValidationError as error:
            # pydantic's own text shows what was given, and that may be a secret
            reason = "; ".join(str(problem) for problem in problems_of(error, "", followed.value)[:3])
            _log.error("a stored object is not valid any more", object=str(followed.key), reason=reason)
            continue
        values[followed.key] = Stored(followed.key, value, followed.source, followed.revision)
    return values


def _set(world: World, values: Mapping[Key, Value | None]) -> None:
    for key, value in values.items():
        if value is None:
            world.remove(key)
        else:
            world.put(key, value)


async def _aside(size: int, work: Callable[..., _Result], *arguments: object) -> _Result:
    """Do large work in a thread, so that requests are answered meanwhile; not left half done if cancelled."""
    if size <= _SMALL:
        return work(*arguments)
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
