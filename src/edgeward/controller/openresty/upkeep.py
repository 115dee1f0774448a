"""What one controller does for all OpenResty gateways: prime their Redis, then empty their caches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgeward.certificates import changed_names, store
from edgeward.controller.declared.state import State
from edgeward.controller.openresty.facade import allowed
from edgeward.controller.openresty.flushing import Flushing
from edgeward.controller.openresty.gateway import GatewayDoor
from edgeward.controller.openresty.priming import Priming
from edgeward.database.engine import Database, current_revision
from edgeward.database.leases import Lease, Taken
from edgeward.declaration import events
from edgeward.declaration.events import Happened
from edgeward.domain_name import normalise
from edgeward.errors import EdgewardError, Invalid, NotFound, Refused
from edgeward.gateway.model import OpenResty
from edgeward.log import logger
from edgeward.sealing import Seal

if TYPE_CHECKING:
    from edgeward.controller.openresty.plain_redis import PlainRedis

TOPIC: Final = "openresty"
_GATHER: Final = 0.2
"""Changes come in bursts: those within this share a look and a flush."""
_LOOK: Final = 5.0
"""How often Redis is asked whether it lost what it had; also where nothing changed."""
_LOOKED_AT: Final = 500
_REDIS_SECONDS: Final = 20.0
"""How long a flush waits for Redis; a full prime goes on meanwhile, and is flushed for again."""
_START: Final = 10.0
_log = logger("edgeward.controller.openresty")


@dataclass
class RedisStanding:
    """How the gateways' Redis is, as people see it; times are Unix seconds."""

    url: str
    state: str = "waiting"
    """waiting, priming, primed or failing."""
    since: float = 0.0
    reason: str | None = None
    written: int = 0
    full_primes: int = 0


class Upkeep:
    """``settings`` gives what is declared now; ``listening`` is waited for before the first flush."""

    def __init__(
        self,
        database: Database,
        state: State,
        seal: Seal,
        settings: Callable[[], OpenResty | None],
        listening: asyncio.Event,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._state = state
        self._seal = seal
        self._settings = settings
        self._listening = listening
        self._clock = clock
        self._changed = asyncio.Event()
        self._gateways: list[Flushing] = []
        self.redis: RedisStanding | None = None
        database.on(TOPIC, lambda _text: self.flush())

    def changed(self) -> None:
        """Have it look whether what is declared of it is another."""
        self._changed.set()

    def flush(self) -> None:
        """Have every gateway's cache emptied soon; does nothing where another controller does that."""
        for gateway in self._gateways:
            gateway.want()

    def shown(self) -> dict[str, Any]:
        redis = self.redis
        return {
            "gateways": [gateway.standing.shown() for gateway in self._gateways],
            "redis": None if redis is None else {**vars(redis), "plain_keys": True},
        }

    async def announce(self, answers: asyncio.Event) -> None:
        """Have the caches emptied of failures they kept, whenever clients are answered here that were not
        answered before; until cancelled. Another controller may be the one that does it.
        """
        while True:
            await answers.wait()
            try:
                await self._database.tell(TOPIC, "flush")
            except EdgewardError as error:
                _log.warning("that clients are answered is not told now", reason=str(error))
                await asyncio.sleep(_LOOK)
                continue
            answers.clear()
            self.flush()

    async def run(self, lease: Lease) -> None:
        """Do all of it under the lease, until cancelled; raises Taken once it is another one's."""
        await self._listened()
        while True:
            settings = self._settings()
            self._changed.clear()
            work = asyncio.create_task(self._work(settings, lease))
            try:
                await self._until_other(settings, work)
            finally:
                work.cancel()
                await asyncio.wait({work})
                self._gateways, self.redis = [], None
            if not work.cancelled() and (error := work.exception()) is not None:
                if not isinstance(error, EdgewardError) or isinstance(error, Taken):
                    raise error
                _log.warning("openresty gateways wait", reason=str(error))
                await asyncio.sleep(_LOOK)

    async def _until_other(self, settings: OpenResty | None, work: asyncio.Task[None]) -> None:
        while self._settings() == settings and not work.done():
            changed = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait({work, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
            self._changed.clear()

    async def _listened(self) -> None:
        try:
            async with asyncio.timeout(_START):
                await self._listening.wait()
        except TimeoutError:
            _log.warning("openresty gateways are flushed although the facade is not served yet")

    async def _work(self, settings: OpenResty | None, lease: Lease) -> None:
        if settings is None:
            await asyncio.Event().wait()  # until that changes
            return
        async with AsyncExitStack() as doors:
            priming = None
            if settings.redis is not None:
                _log.warning("PRIVATE KEYS are written to this redis in plain text", redis=settings.redis.url)
                from edgeward.controller.openresty.plain_redis import PlainRedis  # a tenth of a start

                redis = PlainRedis(settings.redis, self._seal)
                doors.push_async_callback(redis.close)
                self.redis = RedisStanding(redis.url, since=self._clock())
                priming = self._priming(redis, settings, lease)
            for gateway in settings.gateways:
                door = GatewayDoor(gateway, self._seal)
                doors.push_async_callback(door.close)
                self._gateways.append(Flushing(door, self._servable(settings), self._tell, self._clock))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._follow(priming))
                    for flushing in self._gateways:
                        group.create_task(flushing.run())
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None

    def _priming(self, redis: PlainRedis, settings: OpenResty, lease: Lease) -> Priming:
        types: Sequence[int] = settings.redis.types if settings.redis is not None else ()
        return Priming(
            redis, self._database, self._state, self._seal, types, settings.labels, lease.token, self._clock
        )

    # --- following the store ------------------------------------------------------------------

    async def _follow(self, priming: Priming | None) -> None:
        """After every change: Redis first, then the flush, or a gateway would fetch the old one again."""
        seen: int | None = None
        while True:
            try:
                seen, news = await self._news(seen)
                news = await self._prime(priming) or news
                if news:
                    self.flush()
            except Taken:
                raise
            except EdgewardError as error:
                _log.warning("openresty gateways wait", reason=str(error))
                await asyncio.sleep(_LOOK)
                continue
            if priming is None or not priming.behind:
                await self._database.changed_since(seen, _LOOK)
            await asyncio.sleep(_GATHER)

    async def _news(self, since: int | None) -> tuple[int, bool]:
        """Give the revision there is, and whether certificates changed up to it."""
        async with self._database.reading() as connection:
            revision = await current_revision(connection)
            if since is None or since == revision:
                return revision, False
            names, upto = await changed_names.names_changed(connection, since, _LOOKED_AT)
        return revision if upto is None else upto, bool(names)

    async def _prime(self, priming: Priming | None) -> bool:
        """Bring Redis up to date, and say whether it was not; one that is silent keeps nobody waiting."""
        standing = self.redis
        if priming is None or standing is None:
            return False
        try:
            wrote = await priming.catch_up(_REDIS_SECONDS)
        except Taken:
            raise
        except EdgewardError as error:
            standing.reason = str(error)
            await self._redis_is(standing, "failing")
            return False
        finally:
            standing.written, standing.full_primes = priming.written, priming.full
        standing.reason = None
        await self._redis_is(standing, "priming" if priming.behind else "primed")
        return wrote

    async def _redis_is(self, standing: RedisStanding, state: str) -> None:
        before, standing.state = standing.state, state
        if before == state:
            return
        standing.since = self._clock()
        if state == "failing":
            _log.warning("the redis of the gateways cannot be primed", reason=standing.reason)
            await self._tell("redis_failing", standing.url, standing.reason)
        elif before == "failing":
            await self._tell("redis_primed", standing.url, None)

    def _servable(self, settings: OpenResty) -> Callable[[Collection[str]], Any]:
        async def servable(names: Collection[str]) -> bool:
            """Say whether any of these names, as visitors spelled them, has a certificate for gateways."""
            wanted = [name for name in map(_canonical, names) if name is not None]
            wanted = [name for name in wanted if self._allowed(name, settings)]
            async with self._database.reading() as connection:
                return bool(await store.find_all(connection, self._seal, wanted, self._clock()))

        return servable

    def _allowed(self, name: str, settings: OpenResty) -> bool:
        try:
            allowed(self._state.policy(), name, settings.labels)
        except (NotFound, Refused):
            return False
        return True

    async def _tell(self, what: str, about: str, reason: str | None) -> None:
        """Tell readers of events; where the database is away, the log has to do."""
        now = self._clock()
        happened = Happened("openresty", None, {"at": now, "what": what, "about": about, "reason": reason})
        try:
            async with self._database.writing() as writing:
                await events.record(writing, [happened], await current_revision(writing.connection), now)
        except EdgewardError as error:
            _log.warning("an event was not written", what=what, reason=str(error))


def _canonical(name: str) -> str | None:
    try:
        return normalise(name)
    except Invalid:
        return None
