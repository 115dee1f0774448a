from __future__ import annotations

import pytest

from edgeward.errors import NotFound, Unavailable
from edgeward.node.backends.resolver import Resolver, routable
from tests.integration.dns import dns


async def test_addresses_of_both_families_come_with_the_smallest_time() -> None:
    with dns() as server:
        server.records["db.internal"] = (30, ["10.0.0.7", "10.0.0.3"])
        resolver = Resolver([server.address])
        found = await resolver.resolve("db.internal")
        await resolver.close()

    assert (found.addresses, found.ttl) == (("10.0.0.3", "10.0.0.7"), 30)


async def test_a_short_answer_is_asked_for_again_when_its_time_is_over() -> None:
    import asyncio

    with dns() as server:
        server.records["db.internal"] = (1, ["10.0.0.7"])
        resolver = Resolver([server.address])
        await resolver.resolve("db.internal")
        server.records["db.internal"] = (1, ["10.0.0.8"])
        await asyncio.sleep(1.1)
        found = await resolver.resolve("db.internal")
        await resolver.close()

    assert found.addresses == ("10.0.0.8",)


async def test_names_in_etc_hosts_count() -> None:
    resolver = Resolver()
    found = await resolver.resolve("localhost")
    await resolver.close()

    assert "127.0.0.1" in found.addresses


async def test_a_name_that_is_not_there_is_told_from_dns_that_fails() -> None:
    with dns() as server:
        resolver = Resolver([server.address])
        with pytest.raises(NotFound):
            await resolver.resolve("nobody.internal")
        server.fail = True
        with pytest.raises(Unavailable, match="DNS"):
            await resolver.resolve("db.internal")
        server.mute = True
        with pytest.raises(Unavailable):
            await resolver.resolve("other.internal")
        await resolver.close()


def test_addresses_without_a_route_are_left_out_unless_all_are() -> None:
    assert routable(["127.0.0.1", "fe80::1"]) == ("127.0.0.1",)
    assert routable(["fe80::1"]) == ("fe80::1",)


@pytest.mark.parametrize("name", ["\N{GRINNING FACE}.com", "é" * 200, "xn--é", "\u200d", "\u2028", "．"])
async def test_a_name_that_dns_cannot_have_is_not_there(name: str) -> None:
    resolver = Resolver(["127.0.0.1:1"])
    with pytest.raises(NotFound, match="no name in DNS can be spelled like this"):
        await resolver.resolve(name)
    await resolver.close()
