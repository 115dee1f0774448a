"""What a node waits for Redis where neither memory nor disk has a name, beside what it waits for memory."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.peers import program
from benchmarks.processes import free_ports
from benchmarks.table import NOT_INSTALLED, Goal, Row
from edgeward.certificates.local.signing import LeafSigner, new_intermediate, new_root
from edgeward.errors import Unavailable
from edgeward.node.certificates.redis_tier import TIMEOUT, RedisTier, Standing
from edgeward.node.certificates.secrets import Kept
from edgeward.node.certificates.tiers import Tiers
from edgeward.node.controllers.following import certificate_of
from edgeward.redis_tier.door import Door
from edgeward.redis_tier.entries import Entry, Head, Names, sealed
from edgeward.redis_tier.place import Place
from edgeward.secret import Secret

WHAT: Final = "a certificate from Redis"
_KEY: Final = b"k" * 32
_STORE: Final = "store"
_MOST_ABOVE_MS: Final = 3.0
_AT_ONCE: Final = 2
_WARM: Final = 50


class _Nothing:
    """A disk that has nothing."""

    def find(self, names: Sequence[str], now: float) -> Kept | None:
        return None


def measure(directory: Path, count: int) -> list[Row]:
    found = program("redis-server")
    if found is None:
        return [Row(WHAT, "Edgeward", NOT_INSTALLED)]
    loop = uvloop.new_event_loop  # as the node has it
    with _redis(found, directory) as url, asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(_measured(Place(Secret(url)), count))


async def _measured(place: Place, count: int) -> list[Row]:
    value, names = _certificate(), [f"n{number}.bench.example" for number in range(count)]
    memory = Tiers(_Nothing())
    for name in names:
        memory.remember(name, certificate_of(value, name, "default", 1), time.time())
    async with _filled(place, names, value) as near:
        chosen = random.Random(1).choices(names, k=count)
        for name in names[:_WARM]:
            await near.find(name)
        from_memory = [_timed(memory, name) for name in chosen]
        began, cpu = time.perf_counter(), time.process_time()
        from_redis: list[float] = []
        for start in range(0, count, _AT_ONCE):
            from_redis += await asyncio.gather(*(_waited(near, n) for n in chosen[start : start + _AT_ONCE]))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        if near.counts.misses or near.failures:
            raise RuntimeError(f"{near.counts.misses} of {count} names were not found in Redis")
    above = _percentile(from_redis, 0.99) - _percentile(from_memory, 0.99)
    note = (
        f"p50 {1e3 * _percentile(from_redis, 0.5):.2f} ms, {count / seconds:,.0f}/s, {_AT_ONCE} at once;"
        f" CPU of the node {1e6 * cpu / count:.0f} µs"
    )
    return [
        Row(WHAT, "Edgeward, p99 from memory", 1e3 * _percentile(from_memory, 0.99), "ms"),
        Row(WHAT, "Edgeward, p99 above that", 1e3 * above, "ms", note, (Goal(1e3 * above, _MOST_ABOVE_MS),)),
    ]  # fmt: skip


def _timed(memory: Tiers, name: str) -> float:
    began = time.perf_counter()
    memory.find(name, time.time())
    return time.perf_counter() - began


async def _waited(near: RedisTier, name: str) -> float:
    began = time.perf_counter()
    await near.find(name)
    return time.perf_counter() - began


@asynccontextmanager
async def _filled(place: Place, names: Sequence[str], value: dict[str, str]) -> AsyncIterator[RedisTier]:
    """Fill Redis with one certificate under many names, and keep its head fresh meanwhile."""
    filler, door, there = Door(place, 5.0), Door(place, TIMEOUT), Names(_STORE)

    async def beat(puts: Sequence[tuple[str, bytes, float]] = ()) -> None:
        head = sealed(Head("epoch", 1, time.time(), 1), _KEY, there.head)
        await filler.write(there.head, lambda _there: None, head, puts, ())

    async def beats() -> None:
        while True:
            await beat()
            await asyncio.sleep(0.2)

    for start in range(0, len(names), 500):
        places = [(name, there.entry("epoch", name)) for name in names[start : start + 500]]
        await beat([(p, sealed(Entry("default", 2, value), _KEY, p), 3600.0) for _, p in places])
    beating = asyncio.create_task(beats())

    async def keys() -> list[bytes]:
        return [_KEY]

    try:
        near = RedisTier(door, lambda: Standing(_STORE, 1), keys, lambda _names: None)
        await near.keep_keys()
        yield near
    finally:
        beating.cancel()
        await filler.close()
        await door.close()


def _certificate() -> dict[str, str]:
    now = time.time()
    intermediate = new_intermediate(new_root(now), now)
    leaf = LeafSigner(intermediate).sign(["*.bench.example"], [], 86400.0, now)
    until = datetime.now(UTC) + timedelta(days=1)
    return {
        "chain": leaf.certificate + intermediate.pem,
        "key": leaf.key,
        "not_after": until.isoformat(),
        "fingerprint": leaf.fingerprint,
        "issuer": "local",
    }


@contextmanager
def _redis(binary: str, directory: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    directory.mkdir(parents=True, exist_ok=True)
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            url = f"redis://127.0.0.1:{port}/0"
            asyncio.run(_there(Place(Secret(url))))
            yield url
        finally:
            process.terminate()


async def _there(place: Place) -> None:
    for attempt in range(100):
        door = Door(place, 1.0)
        try:
            await door.values(["x"])
            return
        except Unavailable:
            if attempt == 99:
                raise
            await asyncio.sleep(0.05)
        finally:
            await door.close()


def _percentile(figures: Sequence[float], share: float) -> float:
    return sorted(figures)[min(len(figures) - 1, int(share * len(figures)))]
