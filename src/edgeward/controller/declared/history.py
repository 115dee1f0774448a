"""The use cases of history: revisions listed and shown, what was at one, and the way back to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.api.history import About, Found, Listed, Rollback, RolledBack, Then
from edgeward.controller.declared.changing import API_SOURCE, Changing
from edgeward.controller.declared.file import WatchedFile
from edgeward.controller.declared.rights import allow, shows, visible
from edgeward.controller.declared.state import State
from edgeward.database.engine import Database, current_revision
from edgeward.declaration import document, history, rollback, store
from edgeward.declaration.history import Sight
from edgeward.declaration.model import DEFAULT_PROJECT, Applied, Change, Key, Outdated
from edgeward.declaration.revisions import Author
from edgeward.declaration.rollback import Owned
from edgeward.domain_name import printable
from edgeward.errors import Conflict, Invalid, NotFound, Problem
from edgeward.kinds import KINDS
from edgeward.parsing import Value
from edgeward.whereabouts import Moved


class History:
    """``file`` is the watched one, if any: it brings its own version back after a rollback."""

    def __init__(
        self, database: Database, state: State, file: WatchedFile | None, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._state = state
        self._file = file
        self._changing = Changing(state, clock)

    # --- reading ---------------------------------------------------------------------------

    async def listed(self, who: Principal, about: About, limit: int, before: int | None) -> Listed:
        sight = _sight(who, about)
        async with self._database.reading() as connection:
            reach = await history.span(connection)
            declared = await store.declared_revision(connection)
            return Listed(
                await history.listed(connection, KINDS, sight, limit, before), reach.oldest, declared
            )

    async def found(
        self, who: Principal, revision: int, about: About, limit: int, after: int | None
    ) -> Found:
        sight = _sight(who, about)
        async with self._database.reading() as connection:
            reach = await history.span(connection)
            found = await history.one(connection, revision, sight)
            if found is None:
                reach.check(revision)
                raise NotFound(f"revision {revision} changed nothing that you may see and asked for")
            made = await history.changes(connection, KINDS, revision, sight, limit, after)
            return Found(found, made)

    async def was(self, who: Principal, revision: int, about: About) -> Then:
        """Give one object as it was right after ``revision``; raises NotFound where it was not there."""
        sight = _sight(who, about)
        async with self._database.reading() as connection:
            wanted = await self._then(connection, revision, sight)
        for key, owned in wanted.items():
            if owned is not None and shows(who, key):
                return Then(key, document.shown(owned.value, KINDS[key.kind]), owned.source)
        raise NotFound(f"there was no {about.kind}/{printable(about.name or '')} at revision {revision}")

    async def exported(
        self, who: Principal, revision: int, project: str | None, source: str | None
    ) -> Mapping[str, Any]:
        """Give everything as it was right after ``revision`` as one document."""
        sight = _sight(who, About(project))
        async with self._database.reading() as connection:
            then = await self._then(connection, revision, sight)

        def written() -> Mapping[str, Any]:
            chosen = [
                (key, owned.value)
                for key, owned in then.items()
                if owned is not None and shows(who, key) and source in (None, owned.source)
            ]
            return document.written(chosen, KINDS)

        return await asyncio.to_thread(written)

    async def _then(
        self, connection: AsyncConnection, revision: int, sight: Sight
    ) -> dict[Key, Owned | None]:
        """Give everything in sight as it was right after ``revision``."""
        await self._state.catch_up(connection)
        (await history.span(connection)).check(revision)
        was = await history.undone(connection, revision, sight, KINDS)
        now = {k: Owned(s.value, s.source) for k, s in self._state.stored.items() if _in(sight, k)}
        return now | await asyncio.to_thread(rollback.read, was, KINDS)

    # --- changing --------------------------------------------------------------------------

    async def rolled_back(self, who: Principal, revision: int, asked: Rollback) -> RolledBack:
        """Make everything asked for what it was right after ``revision``: all of it, or nothing and an error.

        Raises NotFound, Conflict, Outdated, Refused or Invalid.
        """
        require(who, Right.CHANGE, asked.about.project)
        sight = _sight(who, asked.about)
        if asked.dry_run:
            async with self._database.reading() as connection:
                changes, values = await self._planned(connection, who, revision, sight, asked)
                await self._check(who, changes, values)
                return self._answer(Applied(await current_revision(connection), changes))
        async with self._database.writing() as writing:
            changes, values = await self._planned(writing.connection, who, revision, sight, asked)
            if not changes:
                return self._answer(Applied(await current_revision(writing.connection)))
            moved = await self._check(who, changes, values)
            author = Author(who.name, API_SOURCE, revision)
            made = await self._changing.write(writing, changes, moved, author)
        await self._state.take(changes, values, API_SOURCE, made)
        return self._answer(Applied(made, changes))

    async def _planned(
        self, connection: AsyncConnection, who: Principal, revision: int, sight: Sight, asked: Rollback
    ) -> tuple[tuple[Change, ...], Mapping[Key, Value]]:
        await self._state.catch_up(connection)
        declared = await store.declared_revision(connection)
        if asked.match is not None and declared not in asked.match:
            raise Outdated(f"the declared state was changed since; its revision is {declared} now")
        (await history.span(connection)).check(revision)
        was = await history.undone(connection, revision, sight, KINDS)
        if sight.name is not None and not was and not any(_in(sight, k) for k in self._state.stored):
            raise NotFound(f"there is and was no {sight.kind}/{printable(sight.name)}")
        wanted = await asyncio.to_thread(rollback.read, was, KINDS)
        changes = await asyncio.to_thread(rollback.way_back, wanted, self._state.stored)
        values = {key: owned.value for key, owned in wanted.items() if owned is not None}
        for change in changes:
            allow(who, change.action, change.key, values.get(change.key))
        return changes, values

    async def _check(self, who: Principal, changes: Sequence[Change], values: Mapping[Key, Value]) -> Moved:
        outlook = await self._changing.check(who, changes, values)
        if outlook.problems:
            named = "; ".join(f"{p.object}: {p.field}: {p.message}" for p in outlook.problems[:5])
            raise Conflict(
                f"what this leaves would not hold together: {named}; roll more of it back, or less"
            )
        return outlook.moved

    def _answer(self, applied: Applied) -> RolledBack:
        files = rollback.of_files(applied.changes)
        shown = tuple(history.without_secrets(change, KINDS) for change in applied.changes)
        return RolledBack(
            Applied(applied.revision, shown), tuple(self._note(*found) for found in sorted(files.items()))
        )

    def _note(self, source: str, count: int) -> str:
        name = printable(source.removeprefix("file:"))
        objects = "1 of these objects is" if count == 1 else f"{count} of these objects are"
        when = "applying it again brings its version back"
        if self._file is not None and self._file.source == source:
            when = (
                "the controller watches it, and brings its version back when it changes or at the next start"
            )
        return f"{objects} declared by the file {name}: {when}; change it there, too"


def _sight(who: Principal, about: About) -> Sight:
    """Give what is asked for, with the project that a name alone means; raises NotFound or Invalid."""
    project = visible(who, about.project)
    if about.kind is None:
        if about.name is not None:
            raise Invalid(Problem("kind", "a name goes with its kind"))
        return Sight(project, source=about.source)
    kind = KINDS.get(about.kind)
    if kind is None:
        raise Invalid(Problem("kind", f"there is no such kind; there are {', '.join(KINDS)}"))
    if kind.single:
        if not who.everywhere:
            raise NotFound(f"there is no {kind.name}")
        return Sight(None, kind.name, kind.name, about.source)
    if about.name is None:
        return Sight(project, kind.name, None, about.source)
    try:
        name = kind.spelling(about.name)
    except Invalid as error:  # a name nothing can have is the name of nothing
        raise NotFound(f"there is no {kind.name}/{printable(about.name)}") from error
    if project is None and not kind.unique_everywhere:
        project = DEFAULT_PROJECT
    return Sight(project, kind.name, name, about.source)


def _in(sight: Sight, key: Key) -> bool:
    if sight.project is not None and (key.project != sight.project or KINDS[key.kind].single):
        return False
    return sight.kind in (None, key.kind) and sight.name in (None, key.name)
