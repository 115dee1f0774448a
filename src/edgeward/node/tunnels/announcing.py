"""Tells the neighbours of a gateway that has just become active where its addresses are, more than once.

The one that had them before may still send something while it gives way, and switches believe who spoke last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from edgeward.errors import Unavailable
from edgeward.log import logger
from edgeward.node.tunnels.root import Root
from edgeward.vpn import wiring
from edgeward.vpn.desired import Gateway

log = logger(__name__)
_PAUSES: Final = (1.0, 1.0, 2.0, 4.0, 8.0)


class Announcing:
    """Of gateways that other nodes may have too, and that are plugged into a bridge."""

    def __init__(self, root: Root, pauses: Iterable[float] = _PAUSES) -> None:
        self._root = root
        self._pauses = tuple(pauses)
        self._active: dict[str, asyncio.Task[None]] = {}

    def judged(self, gateways: Iterable[Gateway], group: asyncio.TaskGroup) -> None:
        """Take in which gateways are active by now, and announce those that were not."""
        now = {g.id: g for g in gateways if g.shared and g.active and g.outside.bridge is not None}
        for id_ in self._active.keys() - now.keys():
            self._active.pop(id_).cancel()
        for id_ in now.keys() - self._active.keys():
            self._active[id_] = group.create_task(self._announce(wiring.namespace(now[id_])))

    async def _announce(self, namespace: str) -> None:
        for pause in self._pauses:
            await asyncio.sleep(pause)
            try:
                await self._root.do("announce", namespace=namespace)
            except Unavailable as error:
                log.debug("a gateway is not announced", namespace=namespace, problem=str(error))
