from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from edgeward.errors import Unavailable
from edgeward.node.certificates import redis_tier
from edgeward.node.certificates.redis_tier import RedisTier, Standing


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
