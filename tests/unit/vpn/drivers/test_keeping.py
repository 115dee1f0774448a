"""Connections that went down are begun again, as long as somebody sees to it."""

from __future__ import annotations

import asyncio

import pytest

from edgeward.vpn.drivers.keeping import Keeper


@pytest.mark.parametrize("steps", range(6))
async def test_it_ends_when_it_is_told_to_at_the_moment_that_something_is_wanted(steps: int) -> None:
    async def again(_: str) -> bool:
        return True

    keeper = Keeper(again)
    running = asyncio.create_task(keeper.run())
    keeper.want("berlin")
    await asyncio.sleep(0.01)  # it waits until that is due
    keeper.want("paris")
    for _ in range(steps):
        await asyncio.sleep(0)

    running.cancel()

    done, _ = await asyncio.wait([running], timeout=30)
    assert done == {running}
