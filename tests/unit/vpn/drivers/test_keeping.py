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


async def test_it_goes_on_when_one_is_left_alone_while_another_is_looked_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[str] = []
    third = asyncio.Event()

    async def again(connection: str) -> bool:
        looked.append(connection)
        await asyncio.sleep(0)
        if connection == "berlin":
            keeper.leave("paris")  # it is due too, and is looked after next
            keeper.want("rome")
        if connection == "rome":
            third.set()
        return True

    monkeypatch.setattr("edgeward.vpn.drivers.keeping._A_LOOK", 0.0)
    keeper = Keeper(again)
    keeper.want("berlin")
    keeper.want("paris")
    running = asyncio.create_task(keeper.run())

    waiting = asyncio.create_task(third.wait())
    await asyncio.wait([running, waiting], timeout=30, return_when=asyncio.FIRST_COMPLETED)

    assert not running.done()
    assert looked == ["berlin", "rome"]
    running.cancel()
    await asyncio.wait([running])
