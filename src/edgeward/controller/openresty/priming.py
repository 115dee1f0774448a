"""Brings the gateways' Redis up to the store: what changed, or everything where Redis was lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import changed_names, expirations, store
from edgeward.certificates.model import Certificate
from edgeward.controller.declared.state import State
from edgeward.controller.openresty import layout
from edgeward.controller.openresty.facade import allowed
from edgeward.controller.openresty.layout import Command, Mark
from edgeward.database.engine import Database, current_revision
from edgeward.errors import NotFound, Refused
from edgeward.log import logger
from edgeward.sealing import Seal

if TYPE_CHECKING:
    from edgeward.controller.openresty.plain_redis import PlainRedis

_AT_ONCE: Final = 100
_log = logger("edgeward.controller.openresty")


@dataclass(frozen=True)
class _Part:
    """What is to be written next: of these names, those without a certificate are to go."""

    mark: Mark
    names: Sequence[str]
    certificates: Mapping[str, Certificate]
    last: bool


class Priming:
    """``token`` is that of the lease under which this is done."""

    def __init__(
        self,
        redis: PlainRedis,
        database: Database,
        state: State,
        seal: Seal,
        types: Sequence[int],
        labels: Mapping[str, str],
        token: int,
        clock: Callable[[], float],
    ) -> None:
        self._redis = redis
        self._database = database
        self._state = state
        self._seal = seal
        self._types = types
        self._labels = labels
        self._token = token
        self._clock = clock
        self.written = 0
        """Certificates that were written since the start."""
        self.full = 0
        """How often everything was written."""
        self.behind = True
        """Whether more is missing."""

    async def catch_up(self, seconds: float) -> bool:
        """Write what is missing, for about that long, and say whether anything was.

        Raises Unavailable, Taken. What was written is not written again by who goes on with it.
        """
        ends = monotonic() + seconds
        mark = await self._begun(await self._redis.mark())
        wrote = False
        while True:
            part = await self._next(mark)
            if part.names or part.mark != mark:
                await self._write(part)
                wrote = wrote or bool(part.names)
            if mark.after is not None and part.mark.after is None:
                await self._sweep(part.mark)
                self.full += 1
                _log.info("redis of the gateways is primed", redis=self._redis.url, written=self.written)
            mark = part.mark
            self.behind = not part.last
            if part.last or monotonic() > ends:
                return wrote

    async def _begun(self, mark: Mark | None) -> Mark:
        """Give where to go on; from the beginning where Redis does not belong to what the store says."""
        async with self._database.reading() as connection:
            identity, floor = await changed_names.store_and_floor(connection)
            revision = await current_revision(connection)
        if mark is not None and mark.store == identity and floor <= mark.revision <= revision:
            return replace(mark, token=self._token)
        _log.info("everything is written to the redis of the gateways", redis=self._redis.url)
        return Mark(identity, self._token, revision, "")

    async def _next(self, mark: Mark) -> _Part:
        async with self._database.reading() as connection:
            await self._state.catch_up(connection)
            if mark.after is not None:
                names = await changed_names.names_after(connection, mark.after, _AT_ONCE)
                through = len(names) < _AT_ONCE
                mark = replace(mark, after=None if through else names[-1])
                return _Part(mark, names, await self._certificates(connection, names), last=False)
            revision = await current_revision(connection)
            names, upto = await changed_names.names_changed(connection, mark.revision, _AT_ONCE)
            if expirations.EVERY_NAME in names:
                return _Part(replace(mark, revision=revision, after=""), (), {}, last=False)
            mark = replace(mark, revision=revision if upto is None else upto)
            return _Part(mark, names, await self._certificates(connection, names), last=upto is None)

    async def _certificates(
        self, connection: AsyncConnection, names: Sequence[str]
    ) -> dict[str, Certificate]:
        """Give the certificates that gateways may have, by the one name they can be asked for."""
        exact = [name for name in names if not name.startswith("*.") and self._allowed(name)]
        found = await store.find_all(connection, self._seal, exact, self._clock())
        return {n: kept.certificate for n, kept in found.items() if kept.certificate.name == n}

    def _allowed(self, name: str) -> bool:
        try:
            allowed(self._state.policy(), name, self._labels)
        except (NotFound, Refused):
            return False
        return True

    async def _write(self, part: _Part) -> None:
        names = [name for name in part.names if not name.startswith("*.")]
        before = await self._redis.there(names)
        commands: list[Command] = []
        for name in names:
            certificate = part.certificates.get(name)
            if certificate is None:
                commands += layout.drop(name, before[name])
            else:
                commands += layout.put(certificate, self._types, before[name])
        await self._redis.write(commands, part.mark)
        self.written += len(part.certificates)

    async def _sweep(self, mark: Mark) -> None:
        """Take out what is there and must not be; what others wrote stays."""
        async for names in self._redis.names():
            async with self._database.reading() as connection:
                wanted = await self._certificates(connection, names)
            doubtful = [name for name in names if name not in wanted]
            before = await self._redis.there(doubtful)
            commands = [command for name in doubtful for command in layout.drop(name, before[name])]
            if commands:
                await self._redis.write(commands, mark)
