"""Ends an Envoy that nobody takes over from: no new visitors, and time for those there are."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from edgeward.launcher.admin import Silent
from edgeward.launcher.generation import Generation, first
from edgeward.launcher.lines import say

_QUIET_SECONDS = 1.0
LAST_PATIENCE = 3.0
"""Seconds between SIGTERM and SIGKILL."""


async def let_finish(envoy: Generation, seconds: float, hurry: asyncio.Event) -> None:
    """Let visitors finish for so many seconds at most, then end it; at once when ``hurry`` is set."""
    drained = asyncio.create_task(_drain(envoy, seconds))
    await first([drained, envoy.ended], hurry.wait())
    drained.cancel()
    await envoy.end(0.0 if hurry.is_set() else LAST_PATIENCE)


async def _drain(envoy: Generation, seconds: float) -> None:
    """Wait until no request has been in flight for a second."""
    deadline = time.monotonic() + seconds
    quiet_since = None
    with suppress(Silent):
        await envoy.admin.drain(timeout=max(1.0, seconds / 2))
        while (now := time.monotonic()) < deadline:
            in_flight = await envoy.admin.in_flight()
            quiet_since = None if in_flight.requests else quiet_since or now
            if in_flight.connections == 0 or (quiet_since and now - quiet_since >= _QUIET_SECONDS):
                return
            await asyncio.sleep(0.1)
        say("warning", "visitors had not finished in time", requests=in_flight.requests)
