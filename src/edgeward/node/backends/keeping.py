"""Keeps good DNS answers in the sealed copy, for a start with DNS dead."""

from __future__ import annotations

import asyncio
from functools import partial

from edgeward.errors import Unavailable
from edgeward.log import logger
from edgeward.node.backends.addresses import Backends
from edgeward.node.sealed_copy.copying import Copying
from edgeward.node.sealed_copy.last_good import LastGood

log = logger(__name__)
_LOOK_SECONDS = 5.0


async def run(backends: Backends, copy: LastGood) -> None:
    """Keep what changes, for ever; what the disk does not take is tried again."""
    last: dict[str, list[str]] = copy.addresses()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        good = backends.good()
        changes = {host: good.get(host) for host in last.keys() | good.keys()}
        changes = {host: a for host, a in changes.items() if a != last.get(host)}
        if changes:
            try:
                await copy.write(partial(_keep, changes=changes))
                last = good
            except Unavailable as error:
                log.error("backend addresses are not on disk", problem=str(error))


def _keep(copying: Copying, changes: dict[str, list[str] | None]) -> None:
    copying.keep_addresses(changes)
