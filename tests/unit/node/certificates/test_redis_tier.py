from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from edgeward.errors import NotFound, Unavailable
from edgeward.node.certificates import redis_tier
from edgeward.node.certificates.redis_tier import RedisTier, Standing
from edgeward.placement import EVERYWHERE
from edgeward.redis_tier.entries import Entry, Head, Names, group_key, sealed
from edgeward.sealing import Seal


class Gone:
    """A Redis that does not answer."""

    def __init__(self) -> None:
        self.asked = 0

    async def values(self, names: Sequence[str]) -> list[bytes | None]:
        self.asked += 1
        raise Unavailable("nobody listens there")


async def keys() -> Sequence[bytes]:
    raise Unavailable("no controller")


def test_a_redis_that_fails_for_a_long_time_costs_no_more_than_one_that_just_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_tier, "_PAUSE", 0.0)
    door = Gone()
    tier = RedisTier(door, lambda: Standing("store", 1), keys, lambda names: None)

    async def visits() -> None:
        for number in range(3000):
            assert await tier.find(f"n{number}.x.example") is None

    asyncio.run(visits())
    assert door.asked == tier.failures == 3000


KEY = group_key(Seal(b"k" * 32), EVERYWHERE)
NAMES = Names("store")


class Filled:
    """A Redis that a controller keeps true, by the same clock: it says that there is no certificate."""

    def __init__(self) -> None:
        self.now = 1000.0

    async def values(self, names: Sequence[str]) -> list[bytes | None]:
        head = sealed(Head("epoch", 7, self.now, 1), KEY, NAMES.head)
        miss = NAMES.miss("epoch", "a.x.example")
        there = {NAMES.head: head, miss: sealed(Entry("", 7, None), KEY, miss)}
        return [there.get(name) for name in names]


async def the_key() -> Sequence[bytes]:
    return [KEY]


async def test_a_clock_that_is_put_back_leaves_redis_believed() -> None:
    door = Filled()
    tier = RedisTier(door, lambda: Standing("store", 1), the_key, lambda names: None, lambda: door.now)
    await tier.keep_keys()
    for now in (1000.0, 1000.5, 400.0, 400.5):
        door.now = now
        with pytest.raises(NotFound, match="a moment ago"):
            await tier.find("a.x.example")

    assert not tier.ignored


async def test_a_head_older_than_the_last_one_is_not_believed() -> None:
    door = Filled()
    tier = RedisTier(door, lambda: Standing("store", 1), the_key, lambda names: None, lambda: 1000.0)
    await tier.keep_keys()
    with pytest.raises(NotFound, match="a moment ago"):
        await tier.find("a.x.example")
    door.now = 999.9

    assert await tier.find("a.x.example") is None
    assert tier.ignored == {"stale": 1}
