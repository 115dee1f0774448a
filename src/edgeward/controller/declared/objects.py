"""The use cases on declared objects: decide, plan, check and write in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.api.usecases import ApplyRequest, Filter, Precondition, Progress
from edgeward.controller.declared import last_seen
from edgeward.controller.declared.changing import API_SOURCE, Changing
from edgeward.controller.declared.rights import OF_INSTALLATION, allow, shows, visible
from edgeward.controller.declared.state import State
from edgeward.database.engine import Database, Unreachable, Writing, current_revision
from edgeward.declaration import audit, document, notation, secrets, store
from edgeward.declaration.model import DEFAULT_PROJECT, Applied, Change, Key, Kind, Outdated, Stored
from edgeward.declaration.plan import own, placed, plan, removal, step
from edgeward.declaration.revisions import Author
from edgeward.domain_name import printable
from edgeward.errors import Invalid, NotFound, Problem
from edgeward.kinds import KINDS
from edgeward.parsing import Value
from edgeward.sealing import Seal
from edgeward.whereabouts import Moved


def _unseen(_step: str, _done: int, _of: int) -> None:
    """The progress nobody watches."""


class Declarations:
    """Every way to read and change what is declared, for people, programs and the watched file."""

    def __init__(self, database: Database, state: State, seal: Seal, clock: Callable[[], float]) -> None:
        self._database = database
        self._state = state
        self.door = secrets.sealing(seal)
        """Seals the secrets of what is to be declared here."""
        self._changing = Changing(state, clock)

    # --- reading ---------------------------------------------------------------------------

    async def listed(
        self, who: Principal, kind: str, where: Filter, limit: int, after: tuple[str, ...] | None
    ) -> Sequence[Stored]:
        project = visible(who, where.project)
        place = None if after is None else (after[0], after[1])
        try:
            async with self._database.reading() as connection:
                return await store.listed(
                    connection,
                    KINDS[kind],
                    project=project,
                    source=where.source,
                    name=where.name,
                    limit=limit,
                    after=place,
                )
        except Unreachable:
            here = replace(where, project=project)
            return last_seen.listed(self._state.stored.values(), KINDS[kind], here, limit, place)

    async def found(self, who: Principal, kind: str, name: str, project: str | None) -> Stored:
        try:
            async with self._database.reading() as connection:
                return await self._found(connection, who, KINDS[kind], name, project)
        except Unreachable:
            return await self._found(None, who, KINDS[kind], name, project)

    async def exported(
        self, who: Principal, project: str | None, source: str | None
    ) -> tuple[Mapping[str, Any], int]:
        project = visible(who, project)
        revision = self._state.revision
        with suppress(Unreachable):  # then it is what we saw last
            async with self._database.reading() as connection:
                await self._state.catch_up(connection)
                revision = await store.declared_revision(connection)
        stored = list(self._state.stored.values())

        def written() -> Mapping[str, Any]:
            chosen = [
                (s.key, s.value)
                for s in stored
                if shows(who, s.key) and project in (None, s.key.project) and source in (None, s.source)
            ]
            return document.written(chosen, KINDS)

        return await asyncio.to_thread(written), revision

    async def audited(
        self, who: Principal, where: Filter, kind: str | None, limit: int, before: int | None
    ) -> Sequence[Mapping[str, Any]]:
        require(who, Right.ADMINISTER, where.project)
        async with self._database.reading() as connection:
            return await audit.listed(
                connection,
                lambda name, data: secrets.hidden(data, KINDS.get(name)),
                limit=limit,
                before_id=before,
                project=visible(who, where.project),
                source=where.source,
                kind=kind,
                name=where.name,
                but=() if who.everywhere else OF_INSTALLATION,
            )

    # --- changing --------------------------------------------------------------------------

    async def put(
        self, who: Principal, key: Key, value: object, expected: Precondition, take_over: bool
    ) -> tuple[Stored, bool]:
        kind = KINDS[key.kind]
        key = Key(key.kind, key.project, _spelled(kind, key.name))
        declared = document.read_object(value, key, kind, self.door)
        allow(who, "change", key, declared.value)
        async with self._database.writing() as writing:
            await self._state.catch_up(writing.connection)
            stored = self._state.stored.get(key)
            _meet(expected, stored)
            if stored is not None:
                own(stored, API_SOURCE, take_over)
            declared = self._filled(document.Document("", (declared,))).objects[0]
            change = step(declared, stored, API_SOURCE)
            if change is None and stored is not None:
                return stored, False
            assert change is not None
            wanted = document.Document("", (declared,))
            revision = await self._write(writing, who, API_SOURCE, (change,), wanted)
        await self._state.take((change,), {key: declared.value}, API_SOURCE, revision)
        return Stored(key, declared.value, API_SOURCE, revision), stored is None

    async def deleted(
        self,
        who: Principal,
        kind: str,
        name: str,
        project: str | None,
        expected: Precondition,
        take_over: bool,
    ) -> None:
        async with self._database.writing() as writing:
            await self._state.catch_up(writing.connection)
            stored = await self._found(writing.connection, who, KINDS[kind], name, project)
            allow(who, "delete", stored.key)
            _meet(expected, stored)
            own(stored, API_SOURCE, take_over)
            change = removal(stored, API_SOURCE)
            revision = await self._write(writing, who, API_SOURCE, (change,), _NOTHING)
        await self._state.take((change,), {}, API_SOURCE, revision)

    async def applied(
        self, who: Principal, request: ApplyRequest, progress: Progress | None = None
    ) -> Applied:
        """Apply a document that came over the API: no references to this host's files."""
        progress = progress or _unseen
        progress("reading", 0, 0)
        wanted = await asyncio.to_thread(self._read, request.document)
        if isinstance(request.document, dict):
            request.document.clear()  # a hundred thousand objects take 100 MB, and are values by now
        return await self.apply(who, request, wanted, progress)

    async def apply(
        self,
        who: Principal,
        request: ApplyRequest,
        wanted: document.Document,
        progress: Progress = _unseen,
    ) -> Applied:
        """Make what ``request.source`` declares exactly ``wanted``: all of it, or nothing and an error.

        Raises Invalid with every problem, Conflict, Outdated, Refused or NotFound.
        """
        progress("comparing", 0, len(wanted.objects))
        await asyncio.to_thread(_allow_all, who, wanted)
        if request.dry_run:
            async with self._database.reading() as connection:
                changes, wanted = await self._planned(connection, who, request, wanted)
                await self._check(who, changes, wanted)
                return Applied(await current_revision(connection), _shown(changes))
        async with self._database.writing() as writing:
            changes, wanted = await self._planned(writing.connection, who, request, wanted)
            if not changes:
                return Applied(await current_revision(writing.connection))
            revision = await self._write(writing, who, request.source, changes, wanted, progress)
        await self._state.take(changes, _values(wanted), request.source, revision)
        return Applied(revision, _shown(changes))

    async def foreseen(
        self, who: Principal, request: ApplyRequest
    ) -> tuple[Sequence[Change], Mapping[Key, Value]]:
        """Give what applying a document would change, and the values it declares; nothing is changed."""
        wanted = await asyncio.to_thread(self._read, request.document)
        await asyncio.to_thread(_allow_all, who, wanted)
        async with self._database.reading() as connection:
            changes, wanted = await self._planned(connection, who, request, wanted)
            await self._check(who, changes, wanted)
        return changes, _values(wanted)

    async def _planned(
        self, connection: AsyncConnection, who: Principal, request: ApplyRequest, wanted: document.Document
    ) -> tuple[tuple[Change, ...], document.Document]:
        await self._state.catch_up(connection)
        if request.match is not None:
            revision = await store.declared_revision(connection)
            if revision not in request.match:
                raise Outdated(f"the declared state was changed since; its revision is {revision} now")
        wanted = self._filled(wanted)
        seen = _seen(who, self._state.stored, request.keep, wanted)
        options = {"keep": request.keep, "take_over": request.take_over}
        changes = await asyncio.to_thread(plan, wanted.objects, seen, request.source, **options)
        for change in changes:
            if change.action == "delete":
                allow(who, "delete", change.key)
        return changes, wanted

    def _read(self, given: str | Mapping[str, Any]) -> document.Document:
        if isinstance(given, str):
            given = notation.read(given.encode(errors="replace"), "")
        return document.from_data(given, "", KINDS, door=self.door, known=self._state.stored)

    def _filled(self, wanted: document.Document) -> document.Document:
        """Give what is wanted with the secrets that are to be kept; raises Invalid."""
        objects, problems = secrets.filled(wanted.objects, self._state.stored, KINDS)
        if problems:
            raise placed(problems, wanted.objects, wanted.file or None)
        return document.Document(wanted.file, objects)

    async def _write(
        self,
        writing: Writing,
        who: Principal,
        source: str,
        changes: Sequence[Change],
        wanted: document.Document,
        progress: Progress = _unseen,
    ) -> int:
        progress("checking", 0, len(changes))
        moved = await self._check(who, changes, wanted)
        author, count = Author(who.name, source), len(changes)
        return await self._changing.write(
            writing, changes, moved, author, lambda n: progress("writing", n, count)
        )

    async def _check(self, who: Principal, changes: Sequence[Change], wanted: document.Document) -> Moved:
        outlook = await self._changing.check(who, changes, _values(wanted))
        if outlook.problems:
            raise placed(outlook.problems, wanted.objects, wanted.file or None)
        return outlook.moved

    async def _found(
        self, connection: AsyncConnection | None, who: Principal, kind: Kind, name: str, project: str | None
    ) -> Stored:
        """Give one object, from memory without a connection; raises NotFound."""
        stored, held = None, self._state.stored
        with suppress(Invalid):  # a name nothing can have is the name of nothing
            name = kind.spelling(name)
            if kind.unique_everywhere and project is None:
                stored = (
                    await store.named(connection, name, kind)
                    if connection is not None
                    else last_seen.named(held.values(), name, kind)
                )
            else:
                key = Key(kind.name, project or who.projects or DEFAULT_PROJECT, name)
                stored = await store.find(connection, key, kind) if connection is not None else held.get(key)
        if stored is None or not shows(who, stored.key):
            raise NotFound(f"there is no {kind.name}/{printable(name)}")
        return stored


def _seen(
    who: Principal, stored: Mapping[Key, Stored], keep: bool, wanted: document.Document
) -> dict[Key, Stored]:
    """Give what a plan looks at: where nothing is pruned that is a few of a hundred thousand."""
    if keep:
        keys = (declared.key for declared in wanted.objects)
        return {key: stored[key] for key in keys if key in stored and who.sees(key.project)}
    return dict(stored) if who.everywhere else {k: s for k, s in stored.items() if who.sees(k.project)}


_NOTHING: Final = document.Document("", ())


def _allow_all(who: Principal, wanted: document.Document) -> None:
    for declared in wanted.objects:
        allow(who, "change", declared.key, declared.value)


def _meet(expected: Precondition, stored: Stored | None) -> None:
    if expected.absent and stored is not None:
        raise Outdated(f"{stored.key} is there already, at revision {stored.revision}")
    if (expected.match is not None or expected.exists) and stored is None:
        raise Outdated("the object is not there any more")
    if expected.match is not None and stored is not None and stored.revision not in expected.match:
        raise Outdated(f"{stored.key} was changed since; its revision is {stored.revision} now")


def _values(wanted: document.Document) -> dict[Key, Value]:
    return {declared.key: declared.value for declared in wanted.objects}


def _spelled(kind: Kind, name: str) -> str:
    try:
        return kind.spelling(name)
    except Invalid as error:
        raise Invalid(Problem("name", str(error))) from error


def _shown(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    return tuple(secrets.hidden_change(change, KINDS) for change in changes)
