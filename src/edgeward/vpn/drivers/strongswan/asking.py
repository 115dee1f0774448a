"""What charon is asked to do with tunnels: begin, end, have begun anew without a gap."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from edgeward.vpn.drivers.strongswan.sas import IkeSa, listed
from edgeward.vpn.drivers.strongswan.vici import Answer, NotDone, Vici

BEGIN_SECONDS: Final = 5.0
_AT_ONCE: Final = 4
"""Each that is waited for holds one of charon's threads."""
_LOOK_SECONDS: Final = 0.02


class Asking:
    def __init__(self, vici: Vici, log: Callable[[Answer], None]) -> None:
        self._vici = vici
        self._log = log
        self._few = asyncio.Semaphore(_AT_ONCE)

    async def start(self, name: str, children: Iterable[str]) -> None:
        """Have children come up, and do not wait for it."""
        async with self._vici.talk() as talk:
            for child in children:
                await talk.request("initiate", {"ike": name, "child": child, "timeout": "-1"})

    async def begin(self, name: str, children: Iterable[str]) -> None:
        """Have children come up; raises NotDone with charon's words. What it logs meanwhile is heard."""
        for child in children:
            wanted = {"ike": name, "child": child, "timeout": f"{BEGIN_SECONDS * 1000:.0f}"}
            async with self._few, self._vici.talk() as talk:
                asked = talk.streamed("initiate", "control-log", wanted, seconds=BEGIN_SECONDS + 2)
                async for line in asked:
                    self._log(line)

    async def end(self, selectors: Iterable[Answer]) -> None:
        """End what is selected, now, whether the peer hears of it or not; nothing there is as well."""
        async with self._vici.talk() as talk:
            for selector in selectors:
                try:
                    await talk.request("terminate", {**selector, "timeout": "-1"})
                except NotDone:
                    continue

    async def renew_children(
        self, name: str, connection: str, children: Sequence[str], old: Sequence[IkeSa]
    ) -> bool:
        """Have children come up as they are told now, then end those that were; gives whether they did."""
        came = await self._tried(name, children)
        await self.end({"child-id": child.number} for sa in old for child in sa.of(connection))
        return came

    async def renew_peers(self, name: str, children: Sequence[str], old: Sequence[IkeSa]) -> bool:
        """Have all come up with a new IKE_SA, then end those that were; gives whether they came up."""
        came = await self._tried(name, children)
        await self.end_all(old)
        return came

    async def prove_again(self, old: Sequence[IkeSa], name: str, refused: Callable[[], bool]) -> bool:
        """Have the peers authenticate each other anew; gives whether they did. Else nothing is left."""
        async with self._vici.talk() as talk:
            for sa in old:
                if sa.established:
                    await talk.request("rekey", {"ike-id": sa.number, "reauth": "yes"})
        before, end = {sa.number for sa in old}, time.monotonic() + BEGIN_SECONDS
        while time.monotonic() < end and not refused():
            now = await listed(self._vici, time.time(), name)
            if any(sa.number not in before and any(child.carries for child in sa.children) for sa in now):
                return True
            await asyncio.sleep(_LOOK_SECONDS)
        await self.end_all(old)
        return False

    async def end_all(self, sas: Iterable[IkeSa]) -> None:
        await self.end({"ike-id": sa.number, "force": "yes"} for sa in sas)

    async def _tried(self, name: str, children: Sequence[str]) -> bool:
        try:
            await self.begin(name, children)
        except NotDone:
            return False
        return True
