"""Does with one tunnel what people ask for: begin it, end it, look at it now, have its daemon say more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from edgeward.declaration.feed import Answer, Steer
from edgeward.errors import EdgewardError, NotFound
from edgeward.log import logger
from edgeward.node.tunnels import native
from edgeward.vpn.driver import Driver

log = logger(__name__)
_SECONDS: Final = 40.0
"""Longer than a daemon tries to reach a peer that does not answer."""


class Steering:
    """``drivers`` gives the daemon of a gateway by its id, None where it does not run here; ``place`` is
    rootd's directory."""

    def __init__(self, drivers: Callable[[str], Driver | None], place: Path) -> None:
        self._drivers = drivers
        self._place = place

    async def answer(self, steer: Steer, send: Callable[[Answer], Awaitable[None]]) -> None:
        """Do it, and say what came of it; where nobody can be told, status tells."""
        try:
            async with asyncio.timeout(_SECONDS):
                came = await self._done(steer)
        except TimeoutError:
            came = {"outcome": "late", "reason": f"the daemon did not come to an end within {_SECONDS:g} s"}
        except EdgewardError as error:
            came = {"outcome": "failed", "reason": str(error)}
        try:
            await send(Answer(id=steer.id, tier="none", run=came))
        except EdgewardError as error:
            log.warning("what came of a tunnel is not taken", what=steer.what, problem=str(error))

    async def _done(self, steer: Steer) -> dict[str, Any]:
        driver = self._drivers(steer.gateway)
        if driver is None:
            raise NotFound(
                "the daemon of its gateway does not run on this node; edgeward vpn explain says why"
            )
        if steer.what != "look":
            log.info("steering a tunnel", what=steer.what, connection=steer.connection, by=steer.by)
        if steer.what == "initiate":
            await driver.initiate(steer.connection)
        elif steer.what == "terminate":
            await driver.terminate(steer.connection)
        elif steer.what == "verbosity":
            await driver.verbosity(steer.level)
            found = native.commands(steer.driver, self._place, steer.namespace)
            return {"outcome": "done", "commands": found}
        elif steer.lines:  # they are here even while the daemon hangs
            return {"outcome": "done", "lines": await driver.lines(steer.connection, steer.lines)}
        state = (await driver.states()).get(steer.connection)
        return {"outcome": "done", "state": None if state is None else state.model_dump(mode="json")}
