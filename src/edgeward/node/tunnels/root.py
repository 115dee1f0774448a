"""What tunnels need of root: asked of this host's rootd, by its typed actions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgeward.actions import Unanswered
from edgeward.errors import Unavailable

_AT_ONCE: Final = 16
MOST_BYTES: Final = 65_536
"""Of a request, as rootd reads it."""
Ask = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Asks rootd; raises Unanswered."""


@dataclass(frozen=True)
class Made:
    """What rootd made of one namespace, as digests of what it was asked; blank where that is not there."""

    network: str = ""
    guard: str = ""
    stale: bool = False
    lent: bool = False
    left: float = 0.0
    """When a daemon ended whose keys the kernel has yet, in Unix seconds; 0: none did."""


class Root:
    """``turns`` is held by who goes through several steps: all gateways may come at once, and rootd turns
    away who asks while 64 of its children run."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.turns = asyncio.Semaphore(_AT_ONCE)

    async def do(self, action: str, **values: str | int) -> str:
        """Have it done; gives what was said. Raises Unavailable with the reason where it was not."""
        request = {"action": action, "values": values}
        if (size := len(json.dumps(request))) > MOST_BYTES:  # it would hang up and not say why
            raise Unavailable(
                f"{action} takes {size} bytes, and rootd at most {MOST_BYTES}; "
                "declare fewer or larger networks, or spread the connections over several gateways"
            )
        try:
            said = await self._ask(request)
        except Unanswered as error:
            raise Unavailable(str(error)) from error
        text = str(said.get("output") or said.get("reason") or said.get("outcome")).strip()
        if said.get("outcome") != "done" or said.get("exit") != 0:
            raise Unavailable(text)
        return text

    async def observed(self) -> Mapping[str, Made]:
        """Give what there is, by namespace; raises Unavailable."""
        try:
            said = json.loads(await self.do("observe-networks"))
            return {str(name): Made(**one) for name, one in said.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise Unavailable("rootd is of another version: what it says is not understood") from error
