"""One Envoy, from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeward.launcher.admin import Admin, Silent, Who
from edgeward.launcher.binary import Stamp
from edgeward.launcher.child import Child, stop
from edgeward.launcher.lineage import Lineage


class Generation:
    """``number`` counts all Envoys of a state directory, ``epoch`` those of a lineage.

    ``ended`` is done, with the exit code, once it has ended.
    """

    def __init__(
        self, number: int, epoch: int, lineage: Lineage, process: Child, socket: Path, stamp: Stamp | None
    ) -> None:
        self.number = number
        self.epoch = epoch
        self.lineage = lineage
        self.child = process
        self.stamp = stamp
        self.admin = Admin(socket)
        self.concurrency = 0
        self.version = ""
        """What must be equal in an Envoy that takes over; empty while unknown."""
        self.has_admin = True
        """False once a successor closed its admin socket, even if that came to nothing."""
        self.until: float | None = None
        """When it is ended at the latest, in Unix seconds, where another has taken over."""
        self.ended = asyncio.create_task(self._wait())

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        number: int,
        epoch: int,
        lineage: Lineage,
        socket: Path,
        stamp: Stamp | None,
    ) -> Generation:
        """Raises OSError where the program cannot be run."""
        lineage.joined()
        try:
            process = Child.start(argv, env=environment, more_files=True)
        except OSError:
            lineage.left()
            raise
        return cls(number, epoch, lineage, process, socket, stamp)

    async def _wait(self) -> int:
        code = await self.child.wait()
        self.lineage.left()
        self.admin.release()
        return code

    async def is_live(self) -> bool:
        """Tell whether it takes visitors; False also where another one answers in its place."""
        try:
            who = await self.admin.who()
        except Silent:
            return False
        return self._is(who) and who.state == "LIVE"

    async def answers(self) -> bool:
        try:
            return self._is(await self.admin.who())
        except Silent:
            return False

    def _is(self, who: Who) -> bool:
        return who.epoch == self.epoch and self.lineage.base in (None, who.base)

    async def end(self, patience: float) -> None:
        await stop(self.child, self.ended, patience)

    def record(self) -> dict[str, Any]:
        return {
            "pid": self.child.pid,
            "generation": self.number,
            "epoch": self.epoch,
            "base": self.lineage.base,
            "since": self.child.since,
            "until": self.until,
        }


async def first(tasks: Sequence[asyncio.Task[Any]], *waits: Any) -> None:
    """Wait for the first of all; ``waits`` are coroutines, cancelled then, ``tasks`` go on."""
    made = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait([*tasks, *made], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in made:
            task.cancel()
        await asyncio.gather(*made, return_exceptions=True)
