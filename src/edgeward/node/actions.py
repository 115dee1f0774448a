"""Actions on this host: passed on to its rootd, for users of the API, and what its audit log ends with."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from edgeward.actions import TIMEOUT, Unanswered
from edgeward.declaration.feed import Answer, LogHead, Run
from edgeward.errors import EdgewardError
from edgeward.log import logger

log = logger(__name__)
_AT_ONCE: Final = 64
_LONGEST_SECONDS: Final = 660.0
_ASK_SECONDS: Final = 3.0
"""For what rootd answers by itself: those who wait for it wait for five."""
_LOOK_SECONDS: Final = 10.0
_LOOKS_A_HEAD: Final = 6
_MOST_BYTES: Final = 1 << 20


class Acting:
    """``head`` is the newest line of rootd's audit log, as of the last minute; None: there is no rootd.

    ``problem``: why rootd does nothing, as of the last seconds; blank: it answers.
    """

    def __init__(self, path: str, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self._room = asyncio.Semaphore(_AT_ONCE)
        self.head: LogHead | None = None
        self.problem = ""

    async def answer(self, run: Run, send: Callable[[Answer], Awaitable[None]]) -> None:
        """Have rootd do it, and say what came of it: that is in rootd's log also where nobody can be told."""
        request = {"action": run.action or "list", "values": run.values, "asker": run.asker}
        try:
            if run.action:
                async with self._room:
                    came = await self.asked(request, _LONGEST_SECONDS)
            else:
                came = await self.asked(request, _ASK_SECONDS)
        except Unanswered as error:
            came = {"outcome": "unanswered", "reason": str(error)}
        try:
            await send(Answer(id=run.id, tier="none", run=came))
        except EdgewardError as error:
            log.warning("the outcome of an action is not taken", action=run.action, problem=str(error))

    async def run(self) -> None:
        """Look whether rootd answers, and each minute at the end of its log, for ever."""
        for number in itertools.count():
            head, problem = None, ""
            try:
                said = await self.asked({"action": "log-head"}, _ASK_SECONDS)
                with suppress(ValueError):
                    head = LogHead(n=said["n"], hash=said["hash"]) if said.get("n") else None
            except Unanswered as error:
                problem = str(error)
            if self.head is not None and not problem and number % _LOOKS_A_HEAD:
                head = self.head
            if (head, problem) != (self.head, self.problem):
                self.head, self.problem = head, problem
                self._changed()
            await asyncio.sleep(_LOOK_SECONDS)

    async def asked(self, request: Mapping[str, Any], timeout: float = TIMEOUT) -> dict[str, Any]:
        """Ask as edgeward.actions does, without holding anybody up; raises Unanswered."""
        data = json.dumps(request).encode()
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_unix_connection(self._path)
                try:
                    writer.write(len(data).to_bytes(4, "big") + data)
                    await writer.drain()
                    length = int.from_bytes(await reader.readexactly(4), "big")
                    said = json.loads(await reader.readexactly(min(length, _MOST_BYTES)))
                finally:
                    writer.close()
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise Unanswered("there is no rootd on this node; start edgeward rootd there") from error
        except TimeoutError as error:
            raise Unanswered(
                f"rootd does not answer within {timeout:g} s; it hangs, or has too much to do"
            ) from error
        except (EOFError, ConnectionError) as error:
            why = "rootd hung up: it has just ended, or does not know the node's user; start it with --user"
            raise Unanswered(why) from error
        except (OSError, ValueError) as error:
            raise Unanswered(f"rootd cannot be asked: {error}") from error
        return dict(said) if isinstance(said, dict) else {}
