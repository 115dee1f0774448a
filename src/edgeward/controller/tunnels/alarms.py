"""Tells the webhook of alarms which tunnels stay down, and which of these are up again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from edgeward.certificates.model import Alarms
from edgeward.controller.tunnels.states import Tunnels
from edgeward.database.engine import Database
from edgeward.database.leases import Lease, Taken, held
from edgeward.errors import EdgewardError
from edgeward.log import logger
from edgeward.vpn import store
from edgeward.vpn.heard import Held
from edgeward.vpn.status import Site

_EVERY: Final = 1.0
_AFTER_FAILURE: Final = 60.0
PATIENCE: Final = 10.0
"""Seconds for which a tunnel is down before anybody hears of it: most are back by then."""
_MOST_NAMED: Final = 100
_log = logger("edgeward.controller.tunnels.alarms")
Post = Callable[[Alarms, Mapping[str, object]], Awaitable[None]]
"""Raises Unavailable where nobody took it."""


async def run(
    database: Database,
    tunnels: Tunnels,
    declared: Callable[[], Alarms],
    post: Post,
    clock: Callable[[], float],
    lease: Lease,
) -> None:
    """Look every second, until cancelled; what nobody took is told again a minute later."""
    while True:
        wait = _EVERY
        try:
            await look(database, tunnels, declared(), post, clock(), lease)
        except Taken:
            raise
        except EdgewardError as error:
            _log.warning("alarms of tunnels wait", reason=str(error))
            wait = _AFTER_FAILURE
        await asyncio.sleep(wait)


async def look(
    database: Database,
    tunnels: Tunnels,
    declared: Alarms,
    post: Post,
    now: float,
    lease: Lease | None = None,
) -> Sequence[str]:
    """Tell of what is another way than the webhook was told last, and give the ids.

    What was told is written down behind it: at the worst it is told twice.
    """
    if declared.webhook is None:
        return ()
    async with database.reading() as connection:
        found = await store.untold(connection, now - PATIENCE)
    known = tunnels.known.by_id()
    fresh = {name: (known[name], one) for name, one in found.items() if name in known}
    if not fresh:
        return ()
    await post(declared, body(list(fresh.values())))
    async with database.writing() as writing:
        await held(writing, lease)
        await store.tell(writing, {name: one.state.phase for name, (_, one) in fresh.items()})
    return list(fresh)


def body(some: Sequence[tuple[Site, Held]]) -> dict[str, object]:
    """Give what is sent: a hundred of them at most, and how many there are."""
    return {
        "alarm": "tunnels",
        "count": len(some),
        "tunnels": [_shown(site, one) for site, one in some[:_MOST_NAMED]],
    }


def _shown(site: Site, one: Held) -> dict[str, Any]:
    state = one.state
    return {
        "name": site.name,
        "project": site.project,
        "id": site.connection.id,
        "up": state.phase == "active",
        "phase": state.phase,
        "since": datetime.fromtimestamp(state.since, UTC).isoformat(),
        "reason": state.reason,
        "remedy": state.remedy,
        "node": one.node,
    }
