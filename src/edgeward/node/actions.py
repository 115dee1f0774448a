"""Actions on this host: passed on to its rootd, for users of the API, and what its audit log ends with."""

from __future__ import annotations

import asyncio
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
_ASK_SECONDS: Final = 2.0
_HEAD_SECONDS: Final = 60.0
_MOST_BYTES: Final = 1 << 20


class Acting:
    """``head`` is the newest line of rootd's audit log, as of the last minute; None: there is no rootd."""

    def __init__(self, path: str, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self._room = asyncio.Semaphore(_AT_ONCE)
        self.head: LogHead | None = None

    async def answer(self, run: Run, send: Callable[[Answer], Awaitable[None]]) -> None:
        """Have rootd do it, and say what came of it: that is in rootd's log also where nobody can be told."""
        request = {"action": run.action or "list", "values": run.values, "asker": run.asker}
        try:
            async with self._room:
                came = await self.asked(request, _LONGEST_SECONDS)
        except Unanswered as error:
            came = {"outcome": "unanswered", "reason": str(error)}
        try:
            await send(Answer(id=run.id, tier="none", run=came))
        except EdgewardError as error:
            log.warning("the outcome of an action is not taken", action=run.action, problem=str(error))

    async def run(self) -> None:
        """Look at the end of the log once a minute, for ever."""
        while True:
            head = None
            with suppress(Unanswered, ValueError):
                said = await self.asked({"action": "log-head"}, _ASK_SECONDS)
                if said.get("n"):
                    head = LogHead(n=said["n"], hash=said["hash"])
            if head != self.head:
                self.head = head
                self._changed()
            await asyncio.sleep(_HEAD_SECONDS)

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
            raise Unanswered("rootd did not answer in time") from error
        except (EOFError, ConnectionError) as error:
            raise Unanswered("rootd does not know the node's user; start it with --user") from error
        except (OSError, ValueError) as error:
            raise Unanswered(f"rootd cannot be asked: {error}") from error
        return dict(said) if isinstance(said, dict) else {}
