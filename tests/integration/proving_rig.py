"""A node's answers to an authority's checks, on the sockets that Envoy is told of."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from edgeward.errors import Unavailable
from edgeward.node.proofs.challenges import Challenges
from edgeward.node.proofs.proving import Proving


class Answers:
    """The node's sockets on a loop of their own; ``looks`` is how often a controller would have been asked."""

    def __init__(self, directory: Path, answers: Callable[[], Mapping[tuple[str, str], str]]) -> None:
        self._answers = answers
        self.looks = 0
        self.down = False
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(Proving(Challenges(self._fetch)).run(directory))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)

    async def _fetch(self, _: float) -> Mapping[tuple[str, str], str]:
        self.looks += 1
        if self.down:
            raise Unavailable("no controller")
        return self._answers()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(30)
