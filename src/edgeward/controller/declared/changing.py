"""The one way in which what is declared is changed: checked, written and told in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edgeward.access.model import Principal
from edgeward.certificates import store as certificates
from edgeward.controller.declared.state import Outlook, State
from edgeward.database.engine import Writing
from edgeward.declaration import events, revisions, store
from edgeward.declaration.model import Change, Key
from edgeward.declaration.revisions import Author, Swept
from edgeward.errors import Conflict
from edgeward.log import logger
from edgeward.parsing import Value
from edgeward.whereabouts import Moved
from edgeward.world.checks import Conflicting

API_SOURCE: Final = "api"
_SWEEP_AFTER_BYTES: Final = 64 * 1024**2
_SWEEP_AFTER_CHANGES: Final = 50_000
_log = logger("edgeward.controller.declared.changing")

Values = Mapping[Key, Value]


class Changing:
    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock
        self._size = self._count = 0

    async def check(self, who: Principal, changes: Sequence[Change], values: Values) -> Outlook:
        """Give what would no longer hold, and what would move; raises Conflict where another project stands
        in the way.
        """
        outlook = await self._state.outlook(changes, values)
        if not outlook.problems and outlook.conflicts:
            raise Conflict("; ".join(_of_conflict(who, c) for c in outlook.conflicts[:5]))
        return outlook

    async def write(
        self,
        writing: Writing,
        changes: Sequence[Change],
        moved: Moved,
        author: Author,
        written: Callable[[int], None] = lambda _count: None,
    ) -> int:
        """Write checked changes, what they move, and their history as one revision; give it."""
        now = self._clock()
        revision = await store.write(writing, changes, author.source, now, written)
        await store.move(writing, moved.keys)
        await certificates.move(writing, moved.domains)
        parts = await revisions.record(writing, changes, author, now)
        await events.record(writing, events.of_change(parts, author, revision, now), revision, now)
        self._size += sum(part.size for part in parts.values())
        self._count += len(changes)
        if self._size > _SWEEP_AFTER_BYTES or self._count > _SWEEP_AFTER_CHANGES:
            self._size = self._count = 0  # an hour is long for who writes that much
            told(await revisions.sweep(writing, now))
            await events.sweep(writing, now)
        return revision


def told(swept: Swept | None) -> None:
    """Say in the log what of the history was forgotten."""
    if swept is not None:
        _log.warning(
            "the oldest history was forgotten",
            up_to_revision=swept.revision,
            revisions=swept.revisions,
            changes=swept.changes,
            made_at=swept.at,
        )


def _of_conflict(who: Principal, conflict: Conflicting) -> str:
    where = f" ({conflict.other.project})" if who.everywhere else ""
    return f"{conflict.problem.object}: {conflict.problem.message}{where}"
