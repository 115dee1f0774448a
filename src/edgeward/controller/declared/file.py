"""The declaration file: applied at the start, on a signal, and when it was changed and left alone."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from edgeward.access.model import EVERY_PROJECT, Principal
from edgeward.api.usecases import ApplyRequest
from edgeward.controller.declared.objects import Declarations
from edgeward.declaration import document
from edgeward.declaration.model import Applied
from edgeward.declaration.notation import MOST_BYTES
from edgeward.declaration.references import reader
from edgeward.errors import Conflict, EdgewardError, Invalid, Problem, Unavailable
from edgeward.kinds import KINDS
from edgeward.log import logger

_POLL: Final = 0.5
_RETRY: Final = 10.0
_log = logger("edgeward.controller.declared.file")

Mark = tuple[int, int, int]
"""What tells two states of a file apart: inode, size, and when it or its mode changed, in nanoseconds."""


@dataclass(frozen=True)
class Outcome:
    """How the last attempt ended; ``at`` in Unix seconds."""

    state: Literal["none", "applied", "refused"]
    at: float = 0.0
    revision: int = 0
    problems: tuple[Problem, ...] = ()


class WatchedFile:
    """One file as source ``file:NAME``. ``outcome`` is for people; a bad file changes nothing."""

    def __init__(
        self,
        path: Path,
        environment: Mapping[str, str],
        declarations: Declarations,
        clock: Callable[[], float],
    ) -> None:
        self._path = path
        self._environment = environment
        self._declarations = declarations
        self._clock = clock
        self._source = f"file:{path.name}"
        self._who = Principal("", self._source, "admin", EVERY_PROJECT)
        self._tried: Mark | None = None
        self._may_pass = False  # the reason of a refusal may go without the file being changed
        self._one_at_a_time = asyncio.Lock()
        self.outcome = Outcome("none")

    @property
    def source(self) -> str:
        return self._source

    def shown(self) -> dict[str, Any]:
        outcome = self.outcome
        problems = [
            {"field": p.field, "message": p.message, "line": p.line} for p in _by_line(outcome.problems)[:100]
        ]
        return {
            "name": self._path.name,
            "state": outcome.state,
            "at": outcome.at,
            "revision": outcome.revision,
            "problems": problems,
        }

    async def apply(self) -> None:
        """Apply the file as it is now; raises what is wrong with it, having kept it for people."""
        async with self._one_at_a_time:
            self._tried = _mark(self._path)
            try:
                text = await asyncio.to_thread(_text, self._path)
                applied = await self._applied(text)
            except EdgewardError as error:
                problems = error.problems if isinstance(error, Invalid) else [Problem("", str(error))]
                self.outcome = Outcome("refused", self._clock(), self.outcome.revision, tuple(problems))
                self._may_pass = isinstance(error, (Conflict, Unavailable))
                raise
            self.outcome = Outcome("applied", self._clock(), applied.revision)
        if applied.changes:
            _log.info("file applied", file=str(self._path), changes=len(applied.changes))

    async def reapply(self, why: str) -> None:
        """Apply and say in the log how it went; what is wrong leaves everything as it was."""
        try:
            await self.apply()
        except EdgewardError as error:
            kept = "file refused; what was applied before stays"
            _log.error(kept, file=str(self._path), why=why, reason=str(error))

    async def run(self) -> None:
        """Apply after every change that is half a second old, until cancelled.

        The wait is for writers that truncate first: half a file must not prune the other half.
        """
        seen, retry_at = self._tried, time.monotonic() + _RETRY
        while True:
            await asyncio.sleep(_POLL)
            mark = _mark(self._path)
            settled, seen = mark == seen, mark
            if mark != self._tried and settled:
                await self.reapply("changed" if mark is not None else "gone")
                retry_at = time.monotonic() + _RETRY
            elif self.outcome.state == "refused" and self._may_pass and time.monotonic() >= retry_at:
                await self.reapply("again")
                retry_at = time.monotonic() + _RETRY

    async def _applied(self, text: bytes) -> Applied:
        read = reader(self._path.parent, self._environment)
        door = self._declarations.door
        wanted = await asyncio.to_thread(
            document.parse, text, str(self._path), KINDS, read, self._environment, door
        )
        return await self._declarations.apply(self._who, ApplyRequest(self._source, {}), wanted)


def _by_line(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem.line or sys.maxsize)


def _mark(path: Path) -> Mark | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_ctime_ns


def _text(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Invalid(
            f"{path}: {os.strerror(error.errno or 0)}; make it a file this user may read"
        ) from error
