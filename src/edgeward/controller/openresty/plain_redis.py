"""The Redis that gateways read; the one door to redis-py for it.

A mark in it says up to which revision of the store it was primed, and by the holder of which lease. So a
Redis that lost its data says so by having none, one that came back with old data says how old, and a holder
that was slow cannot write over what its successor wrote.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis, SSLConnection
from redis.asyncio.connection import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, WatchError

from edgeward.controller.openresty import layout
from edgeward.controller.openresty.layout import Command, Mark, There
from edgeward.database.leases import Taken
from edgeward.domain_name import printable
from edgeward.errors import Unavailable
from edgeward.gateway.model import PrimedRedis
from edgeward.sealing import Seal

MARK: Final = "edgeward:primed"
_CONNECT_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 5.0
_MANY: Final = 4
"""So many times longer may take what asks or writes a lot at once."""
_SCAN: Final = 500


class PlainRedis:
    def __init__(self, settings: PrimedRedis, seal: Seal) -> None:
        self.url = settings.url
        self._client = Redis(connection_pool=_pool(settings, seal))

    async def close(self) -> None:
        await self._client.aclose()

    async def mark(self) -> Mark | None:
        """Give how far it is; None where it knows nothing. Raises Unavailable."""
        async with self._translated():
            return _read(await self._client.get(MARK))

    async def there(self, names: Sequence[str]) -> dict[str, There]:
        """Give what is there of these names."""
        async with self._translated(_MANY):
            pipe = self._client.pipeline(transaction=False)
            for name in names:
                for question in layout.questions(name):
                    pipe.execute_command(*question)
            answers = await pipe.execute()
        return {name: layout.there(answers[2 * i], answers[2 * i + 1]) for i, name in enumerate(names)}

    async def write(self, commands: Iterable[Command], mark: Mark) -> None:
        """Do all of this at once, and remember how far it is then.

        Raises Taken where the holder of a later lease has written, Unavailable where it did not get through.
        """
        async with self._translated(_MANY), self._client.pipeline(transaction=True) as pipe:
            await pipe.watch(MARK)
            before = _read(await pipe.get(MARK))
            if before is not None and before.store == mark.store and before.token > mark.token:
                raise Taken("another controller primes Redis by now")
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it so
            for command in commands:
                pipe.execute_command(*command)
            pipe.set(MARK, json.dumps(asdict(mark)))
            await pipe.execute()

    async def names(self) -> AsyncIterator[list[str]]:
        """Give all names there are, some of them twice, in parts."""
        for prefix in ("d1:", "d2:"):
            cursor = 0
            while True:
                async with self._translated():
                    cursor, keys = await self._client.scan(cursor, match=f"{prefix}*", count=_SCAN)
                yield [str(key).removeprefix(prefix) for key in keys]
                if not cursor:
                    break

    @asynccontextmanager
    async def _translated(self, times: int = 1) -> AsyncIterator[None]:
        seconds = _ANSWER_SECONDS * times
        try:
            async with asyncio.timeout(seconds):
                yield
        except WatchError as error:
            raise Unavailable(f"{self.url}: somebody else wrote to it at the same time") from error
        except TimeoutError:
            raise Unavailable(f"{self.url}: no answer within {seconds:g} s") from None
        except (RedisError, OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"{self.url}: {_reason(error)}") from None  # the chain would name it, too


def _pool(settings: PrimedRedis, seal: Seal) -> ConnectionPool:
    url = urlsplit(settings.url)
    options: dict[str, Any] = {
        "host": url.hostname,
        "port": url.port or 6379,
        "db": settings.db,
        "username": settings.username,
        "password": None if settings.password is None else settings.password.reveal(seal).reveal(),
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": None,  # ours bounds all; with theirs a wait_for swallows cancellations
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
        "protocol": 2,
        "connection_class": Connection,
        "max_connections": 4,
    }
    if url.scheme == "rediss":
        options |= {"connection_class": SSLConnection, "ssl_ca_data": settings.ca, "ssl_check_hostname": True}
    return ConnectionPool(**options)


def _reason(error: Exception) -> str:
    """Give why, without the command that failed: redis-py quotes it in a pipeline, private key and all."""
    text = str(error).rpartition("of pipeline caused error: ")[2]
    if "BEGIN " in text or text.startswith("Command #"):
        text = ""
    return printable(text or type(error).__name__)


def _read(text: str | bytes | None) -> Mark | None:
    try:
        found = json.loads(text or "null")
        mark = Mark(**found) if isinstance(found, dict) else None
    except (ValueError, TypeError):
        return None
    sound = mark is not None and isinstance(mark.token, int) and isinstance(mark.revision, int)
    return mark if sound else None
