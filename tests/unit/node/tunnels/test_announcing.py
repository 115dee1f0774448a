"""A gateway that has just become active is announced some times, and not when it is another node's again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from edgeward.node.tunnels.announcing import Announcing
from edgeward.node.tunnels.root import Root
from edgeward.vpn.desired import Gateway, Outside

ID = "00000000000a"


def gateway(*, active: bool = True, shared: bool = True, bridge: str | None = "br-ex") -> Gateway:
    outside = Outside(addresses=("203.0.113.5/24",), bridge=bridge)
    return Gateway(id=ID, name="default/berlin", active=active, shared=shared, outside=outside)


async def announced(*stages: list[Gateway], outcome: int = 0) -> list[str]:
    """Give the namespaces that were announced, with a moment for it after each stage."""
    found: list[str] = []

    async def ask(request: Mapping[str, Any]) -> Mapping[str, Any]:
        assert request["action"] == "announce"
        found.append(request["values"]["namespace"])
        return {"outcome": "done", "exit": outcome, "output": "no"}

    announcing = Announcing(Root(ask), (0.0, 0.0, 60.0))
    async with asyncio.TaskGroup() as group:
        for stage in stages:
            announcing.judged(stage, group)
            await asyncio.sleep(0.01)
        announcing.judged([], group)
    return found


async def test_it_is_announced_some_times_once_it_is_active() -> None:
    assert await announced([gateway(active=False)], [gateway()]) == [f"vpn-{ID}"] * 2


async def test_it_is_announced_again_when_it_comes_back() -> None:
    assert len(await announced([gateway()], [gateway()], [gateway(active=False)], [gateway()])) == 4


async def test_one_that_nobody_else_may_have_or_that_has_no_neighbours_is_not() -> None:
    assert await announced([gateway(shared=False)], [gateway(bridge=None)]) == []


async def test_that_it_cannot_be_is_no_reason_to_stop() -> None:
    assert len(await announced([gateway()], outcome=1)) == 2
