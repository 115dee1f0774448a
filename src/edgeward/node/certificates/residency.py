"""Keeps what each Envoy holds true: within its bounds, current, and gone when it must be gone."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator

from edgeward.certificates.model import Cache
from edgeward.node.certificates.resident import Resident, Residents
from edgeward.node.certificates.secrets import Kept, secret
from edgeward.node.state import Touched
from edgeward.xds.server import Connection

NO_SNI = "edgeward:no-sni"
"""The secret Envoy asks for where a visitor names no host."""
_SLICE = 200
_EXPIRY_SECONDS = 0.5


class Residency:
    """``judge(asked, now)`` gives the canonical name and the certificate it is to be served with, or None."""

    def __init__(self, judge: Callable[[str, float], tuple[str, Kept] | None]) -> None:
        self._judge = judge
        self._bounds = Cache()
        self._connections: dict[Connection, Residents] = {}
        self._doubtful: deque[tuple[Connection, str]] = deque()
        self._work = asyncio.Event()
        self._ready = False

    def opened(self, connection: Connection) -> None:
        bounds = self._bounds
        self._connections[connection] = Residents(bounds.resident, bounds.spellings, frozenset((NO_SNI,)))

    def closed(self, connection: Connection) -> None:
        self._connections.pop(connection, None)

    def of(self, connection: Connection) -> Residents:
        return self._connections[connection]

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._connections

    def __iter__(self) -> Iterator[tuple[Connection, Residents]]:
        return iter(list(self._connections.items()))

    def serve(self, connection: Connection, asked: str, name: str, kept: Kept) -> None:
        """Give Envoy a secret, and take away the oldest where that is one too many."""
        if not connection.delta.answer(asked, secret(asked, kept)):
            return  # the visitor has gone, and Envoy's interest with him
        residents = self._connections[connection]
        for gone in residents.admit(Resident(asked, name, kept.not_after, kept.digest)):
            connection.delta.answer(gone, None)

    def doubt(self, connection: Connection, asked: str) -> None:
        """Have a resident looked at again, soon."""
        self._doubtful.append((connection, asked))
        self._work.set()

    def touched(self, touched: Touched) -> None:
        """Take out what expires at once; have looked at again what may have changed."""
        for connection, residents in self:
            for resident in residents.touched(touched):
                if touched.expires(resident.name):
                    self.take_away(connection, resident.asked)
                else:
                    self.doubt(connection, resident.asked)
            if touched.default_domain and residents.get(NO_SNI) is not None:
                self.doubt(connection, NO_SNI)
            connection.flush()

    def take_away(self, connection: Connection, asked: str) -> None:
        connection.delta.answer(asked, None)
        self._connections[connection].drop(asked)

    def resize(self, bounds: Cache) -> None:
        """Take new bounds; they hold at once."""
        self._bounds = bounds
        for connection, residents in self:
            for gone in residents.resize(bounds.resident, bounds.spellings):
                connection.delta.answer(gone, None)
            connection.flush()

    def begin(self) -> None:
        """There is a state to judge by; before that, what Envoy holds is left alone."""
        self._ready = True
        self._work.set()

    async def run(self) -> None:
        """Look again at what is doubtful, in slices, so that handshakes go in between."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._expire())
            while True:
                await self._work.wait()
                self._work.clear()
                while self._ready and self._doubtful:
                    self._look_again(min(_SLICE, len(self._doubtful)))
                    await asyncio.sleep(0)

    def _look_again(self, count: int) -> None:
        now = time.time()
        seen = set()
        for _ in range(count):
            connection, asked = self._doubtful.popleft()
            if connection not in self._connections:
                continue
            judged = self._judge(asked, now)
            if judged is None:
                self.take_away(connection, asked)
            else:
                self.serve(connection, asked, *judged)
            seen.add(connection)
        for connection in seen:
            connection.flush()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRY_SECONDS)
            now = time.time()
            for connection, residents in self:
                for resident in residents.expired(now):
                    self.doubt(connection, resident.asked)
