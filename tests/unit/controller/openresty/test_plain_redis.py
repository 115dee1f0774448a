"""What may be told of Redis' errors: never the command that failed, which may hold a private key."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from redis.exceptions import OutOfMemoryError, ResponseError

from edgeward.controller.openresty import plain_redis
from edgeward.controller.openresty.plain_redis import PlainRedis, _reason
from edgeward.errors import Unavailable
from edgeward.gateway.model import PrimedRedis
from edgeward.sealing import Seal
from tests.patience import PATIENCE

KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OutOfMemoryError(f"Command # 2 (SET p:1 {KEY}) of pipeline caused error: used memory > 'maxmemory'."),
         "used memory > 'maxmemory'."),
        (ResponseError(f"Command # 2 (SET p:1 {KEY[:30]}"), "ResponseError"),
        (ResponseError(f"unknown: {KEY}"), "ResponseError"),
        (ConnectionError(), "ConnectionError"),
        (OSError("Connection refused"), "Connection refused"),
    ],
)  # fmt: skip
def test_the_reason_is_told_without_the_command(error, told):
    assert _reason(error) == told


@contextlib.asynccontextmanager
async def redis_that(answers: bool):
    """What speaks as much of Redis as is asked for here: it knows nothing, or says nothing at all to GET."""

    async def served(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    length = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(length + 2))[:-2])
                if words[0] != b"GET":
                    writer.write(b"+OK\r\n")
                elif answers:
                    writer.write(b"$-1\r\n")
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    redis = PlainRedis(PrimedRedis(url=f"redis://127.0.0.1:{port}", plain_keys=True), Seal(b"k" * 32))
    try:
        yield redis
    finally:
        await redis.close()
        server.close()


async def test_whoever_is_cancelled_while_redis_is_asked_ends():
    async with redis_that(answers=True) as redis:
        assert await redis.mark() is None
        for steps in range(100):
            asking = asyncio.create_task(redis.mark())
            for _ in range(steps):
                await asyncio.sleep(0)
            cancelled = asking.cancel()
            await asyncio.wait({asking})
            assert asking.cancelled() == cancelled, f"after {steps} steps of the loop"


async def test_a_redis_that_says_nothing_is_told_of_in_words(monkeypatch):
    monkeypatch.setattr(plain_redis, "_ANSWER_SECONDS", 0.1)
    async with redis_that(answers=False) as redis, asyncio.timeout(5 * PATIENCE):
        with pytest.raises(Unavailable, match=r"^redis://127\.0\.0\.1:\d+: no answer within 0\.1 s$"):
            await redis.mark()
