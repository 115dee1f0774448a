"""The door to Redis as a tier: short timeouts, no retries, and errors of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, WatchError

from edgeward.domain_name import printable
from edgeward.errors import Conflict, Unavailable
from edgeward.redis_tier.place import Place

_MOST_CONNECTIONS: Final = 16


class Door:
    """``seconds`` bounds every wait. Raises Unavailable for all that goes wrong."""

    def __init__(self, place: Place, seconds: float) -> None:
        self.shown = place.shown
        self._seconds = seconds
        options: dict[str, Any] = {
            "socket_timeout": None,  # ours bounds all; with theirs a wait_for swallows cancellations
            "socket_connect_timeout": seconds,
            "retry": Retry(NoBackoff(), 0),
            "max_connections": _MOST_CONNECTIONS,
            "timeout": seconds,
        }
        if place.url.reveal().startswith("rediss:"):
            options |= {"ssl_check_hostname": True, "ssl_cert_reqs": "required"}
            options |= {"ssl_ca_certs": str(place.ca)} if place.ca is not None else {}
        self._client = Redis(connection_pool=BlockingConnectionPool.from_url(place.url.reveal(), **options))

    async def values(self, names: Sequence[str]) -> list[bytes | None]:
        """Give what stands under these names, all as of one moment."""
        async with self._translated(self._seconds):
            return [_bytes(value) for value in await self._client.mget(names)]

    async def put(self, name: str, value: bytes, seconds: float) -> None:
        async with self._translated(self._seconds):
            await self._client.set(name, value, px=max(1, int(seconds * 1000)))

    async def write(
        self,
        watched: str,
        check: Callable[[bytes | None], None],
        head: bytes,
        puts: Iterable[tuple[str, bytes, float]],
        gone: Sequence[str],
    ) -> None:
        """Do all of it at once, the ``watched`` value last; ``check`` sees that as it is and may raise.

        Each put is a name, a value and the seconds it stays. Raises Conflict where somebody else wrote
        meanwhile.
        """
        async with self._translated(self._seconds * 5), self._client.pipeline(transaction=True) as pipe:
            await pipe.watch(watched)
            check(_bytes(await pipe.get(watched)))
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it so
            for name, value, seconds in puts:
                pipe.set(name, value, px=max(1, int(seconds * 1000)))
            if gone:
                pipe.delete(*gone)
            pipe.set(watched, head)
            await pipe.execute()

    async def close(self) -> None:
        await self._client.aclose()

    @asynccontextmanager
    async def _translated(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except WatchError as error:
            raise Conflict(f"{self.shown}: another controller wrote to it at the same time") from error
        except TimeoutError as error:
            raise Unavailable(f"{self.shown} did not answer within {seconds:g} s") from error
        except (RedisError, OSError) as error:
            reason = printable(str(error) or type(error).__name__)
            raise Unavailable(f"{self.shown}: {reason}") from error


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
