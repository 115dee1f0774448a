"""The tier in a real Redis: right within a second or not believed, and never more than a short wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edgeward.controller.certificates.redis_tier import Tier
from edgeward.database.leases import Taken
from edgeward.errors import NotFound, Unavailable
from edgeward.node.certificates import redis_tier
from edgeward.node.certificates.redis_tier import RedisTier, Standing
from edgeward.node.certificates.secrets import Kept
from edgeward.redis_tier.door import Door
from edgeward.redis_tier.entries import FRESH_SECONDS
from edgeward.redis_tier.place import Place
from edgeward.secret import Secret
from tests.patience import PATIENCE
from tests.redis_server import RedisServer
from tests.unit.controller.assembled import ADMIN, Controller, controller

NAMES = ("a.shop.example", "b.shop.example")
DOMAIN = {"name": "*.shop.example", "on_demand": True}


@pytest.fixture
async def here(tmp_path, sqlite_template):
    async with controller(tmp_path) as found:
        yield found


@pytest.fixture
def redis(tmp_path, needs) -> Iterator[RedisServer]:
    server = RedisServer(needs("redis-server"), tmp_path / "redis").start()
    yield server
    server.kill()


class Edge:
    """A controller that fills Redis, and a node that asks it; the node has no feed."""

    def __init__(self, here: Controller, place: Place) -> None:
        self.here = here
        self.place = place
        self.revision = 0
        self.doubted: set[str] = set()
        self.node = "n1"
        parts = here.parts
        self.tier = Tier(parts.database, parts.state, parts.certificates.issuance.seal, place, time.time)
        self.door = Door(place, 0.5)
        self.near = RedisTier(self.door, self._standing, self._keys, self.doubted.update)
        self._work: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    def _standing(self) -> Standing:
        return Standing(self._store, self.revision)

    async def _keys(self) -> list[bytes]:
        return list(await self.tier.keys(self.node))

    async def fill(self) -> None:
        """Have Redis filled from now on, by the holder of a lease."""
        async with self.here.parts.database.reading() as connection:
            from edgeward.declaration import store

            self._store = (await store.store(connection)).identity
        lease = await self.here.parts.leases.take("redis")
        assert lease is not None
        self._work = asyncio.create_task(self.tier.work(lease))
        self._looking = self._looking or asyncio.create_task(self.near.run())

    async def cut(self) -> None:
        """Have nobody fill Redis any more."""
        if self._work is not None:
            self._work.cancel()
            with suppress(asyncio.CancelledError):
                await self._work

    async def close(self) -> None:
        await self.cut()
        if self._looking is not None:
            self._looking.cancel()
        await self.tier.close()
        await self.door.close()

    async def obtain(self, *names: str) -> None:
        for name in names:
            await self.here.parts.certificates.obtainer.obtain(name)

    async def renewed(self, name: str) -> str:
        """Replace a certificate in the store and give the new one's fingerprint."""
        from edgeward.certificates.issue import issue
        from edgeward.certificates.policy import certificate_for

        issuance = self.here.parts.certificates.issuance
        domain = issuance.policy().covering(name)
        assert domain is not None
        order = issuance.policy().order(certificate_for(name, domain), domain)
        async with issuance.database.writing() as writing:
            return (await issue(issuance, writing, [order], time.time()))[name].certificate.fingerprint

    async def finds(self, name: str = NAMES[0]) -> Kept | None:
        return await self.near.find(name)

    async def found(self, name: str = NAMES[0]) -> Kept:
        """Find what is there, as soon as Redis has been heard of within the last second."""
        async with asyncio.timeout(30):
            while (kept := await self.finds(name)) is None:
                await asyncio.sleep(0.02)
        return kept


async def within(seconds: float, condition: Callable[[], Awaitable[object]], what: str = "it") -> None:
    deadline = time.monotonic() + seconds * PATIENCE
    while not await condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def edge_of(here: Controller, place: Place):
    admin = await here.token("boss", "admin")
    await here.apply(admin, domains=[DOMAIN])
    edge = Edge(here, place)
    await edge.obtain(*NAMES)
    await edge.fill()
    try:
        yield edge
    finally:
        await edge.close()


@pytest.fixture
async def edge(here, redis):
    async with edge_of(here, Place(Secret(redis.url))) as found:
        await within(5, found.finds)
        yield found


async def test_what_is_in_the_store_is_in_redis_and_nothing_of_it_in_the_clear(edge, redis):
    kept = await edge.found()
    await edge.obtain("c.shop.example")

    await within(2, lambda: edge.finds("c.shop.example"))
    assert (kept.name, kept.not_after > time.time()) == (NAMES[0], True)
    names = redis.names()
    assert len(names) == 4
    for name in names:
        value = redis.value(name)
        assert b"PRIVATE" not in value and b"CERTIFICATE" not in value and b"fingerprint" not in value
        if not name.endswith(":head"):
            assert 0 < int(redis.command("PTTL", name)[1:]) <= (kept.not_after - time.time()) * 1000 + 2000


async def test_a_wildcards_certificate_is_found_behind_the_names_own(here, edge):
    admin = await here.token("other", "admin")
    await here.apply(admin, source="file:b", domains=[{"name": "*.wild.example"}])
    await here.parts.certificates.obtainer.obtain("x.wild.example")

    await within(2, lambda: edge.finds("y.wild.example"))

    assert (await edge.finds("y.wild.example")).name == "*.wild.example"


async def test_whoever_is_cancelled_while_redis_is_asked_ends(redis):
    door = Door(Place(Secret(redis.url)), 10)
    try:
        await door.values(["a"])
        for steps in range(100):
            asking = asyncio.create_task(door.values(["a"]))
            for _ in range(steps):
                await asyncio.sleep(0)
            cancelled = asking.cancel()
            await asyncio.wait({asking})
            assert asking.cancelled() == cancelled, f"after {steps} steps of the loop"
    finally:
        await door.close()


async def test_what_is_replaced_is_replaced_everywhere(edge):
    before = await edge.found()

    fresh = await edge.renewed(NAMES[0])

    async def replaced() -> bool:
        kept = await edge.finds()
        return kept is not None and kept.fingerprint == fresh

    await within(3, replaced)
    assert before.fingerprint != fresh


async def test_what_is_not_declared_any_more_or_withheld_goes(here, edge):
    admin = await here.token("other", "admin")
    assert (await here.http.put(f"/v1/withheld/{NAMES[1]}", json={}, headers=admin)).status_code == 201

    async def gone(name: str) -> bool:
        return await edge.near.has(name) is None and edge.near._head.fresh(time.time())

    await within(3, lambda: gone(NAMES[1]))
    assert await edge.near.has(NAMES[0]) is not None
    await here.apply(admin, domains=[])
    await within(3, lambda: gone(NAMES[0]))


async def test_what_was_replaced_while_redis_was_away_is_not_believed_when_it_is_back(edge, redis):
    before = await edge.found()
    redis.pause()
    fresh = await edge.renewed(NAMES[0])
    await asyncio.sleep(1.2)
    redis.resume()

    seen = set()
    deadline = time.monotonic() + 60
    while fresh not in seen:
        assert time.monotonic() < deadline
        edge.near._failing, edge.near._closed_until = 0, 0.0
        kept = await edge.finds()
        seen.add(None if kept is None else kept.fingerprint)
        await asyncio.sleep(0.01)
    assert before.fingerprint not in seen


async def test_where_nobody_fills_redis_it_is_not_believed_within_a_second(edge):
    await edge.cut()
    await edge.renewed(NAMES[0])
    await asyncio.sleep(FRESH_SECONDS)

    assert await edge.finds() is None
    assert edge.near.ignored["stale"] > 0
    await edge.fill()
    await within(3, edge.finds)


async def test_what_the_feed_has_told_is_not_taken_from_redis(edge):
    kept = await edge.found()
    edge.revision = kept.revision

    assert await edge.finds() is None
    assert edge.near.ignored["old"] == 1


async def test_a_node_that_is_cut_off_asks_again_for_what_it_had_from_redis(edge):
    await edge.finds()

    await edge.renewed(NAMES[0])

    async def doubted() -> bool:
        return NAMES[0] in edge.doubted

    await within(2, doubted)


@pytest.mark.parametrize(
    "how",
    [
        "swapped",
        "garbage",
        *(pytest.param(how, marks=pytest.mark.slow) for how in ("cut", "empty", "changed")),
    ],
)
async def test_a_poisoned_entry_is_ignored_and_counted(edge, redis, how):
    await within(2, lambda: edge.finds(NAMES[1]))
    names = {name.rpartition(":")[2]: name for name in redis.names()}
    mine, other = names[NAMES[0]], names[NAMES[1]]
    value = redis.value(mine)
    poison = {
        "swapped": redis.value(other),
        "garbage": b"\x01" * 300,
        "cut": value[:-1],
        "empty": b"",
        "changed": value[:40] + b"?" + value[41:],
    }[how]
    redis.command("SET", mine, poison)

    assert await edge.finds() is None
    assert sum(edge.near.ignored.values()) > 0 or how in ("garbage", "empty")
    await edge.found(NAMES[1])


@pytest.mark.parametrize("poison", [b"garbage"])
async def test_a_poisoned_head_is_written_over(edge, redis, poison):
    (head,) = redis.names("*:head")
    redis.command("SET", head, poison)

    await within(4, edge.finds)


async def test_a_value_of_another_type_is_written_over_or_ignored(edge, redis):
    entry = next(name for name in redis.names() if name.endswith(NAMES[0]))
    redis.command("DEL", entry)
    redis.command("RPUSH", entry, "x")

    assert await edge.finds() is None
    await edge.found(NAMES[1])


async def test_redis_that_hangs_costs_a_short_wait_and_then_none(here, redis, edge):
    edge.near._door = quick = Door(edge.place, redis_tier.TIMEOUT)
    redis.pause()
    for _ in range(5):
        assert await edge.finds() is None
    assert not edge.near.open
    assert edge.near.failures in (3, 4), (
        "the others were not asked; a look at the head may have been under way"
    )

    redis.resume()
    await within(8, edge.finds)
    assert edge.near.open
    await quick.close()


async def test_redis_that_is_gone_is_filled_again_when_it_is_back(edge, redis):
    async def problem():
        return edge.tier.shown()["problem"]

    redis.kill()
    assert await edge.finds() is None
    await within(4, problem)
    redis.start()

    await within(12, edge.finds)
    await within(4, lambda: edge.finds(NAMES[1]))
    assert await problem() is None


async def test_redis_that_was_wiped_is_filled_again_under_another_epoch(edge, redis):
    before = edge.near._head.epoch
    stale = next(name for name in redis.names() if name.endswith(NAMES[0]))
    value = redis.value(stale)
    redis.command("FLUSHALL")
    redis.command("SET", stale, value)

    await within(5, edge.finds)
    assert edge.near._head.epoch != before


async def test_redis_that_is_full_is_done_without(edge, redis):
    redis.command("CONFIG", "SET", "maxmemory", "1")
    fresh = await edge.renewed(NAMES[0])
    await asyncio.sleep(FRESH_SECONDS + 0.3)
    assert await edge.finds() is None

    redis.command("CONFIG", "SET", "maxmemory", "0")

    async def replaced() -> bool:
        kept = await edge.finds()
        return kept is not None and kept.fingerprint == fresh

    await within(6, replaced)


async def test_who_fills_next_goes_on_where_the_one_before_was(edge):
    async def counted() -> int:
        return edge.tier.written + edge.tier.failures

    epoch = edge.near._head.epoch
    await edge.cut()
    edge.tier.written = edge.tier.failures = 0
    await edge.obtain("late.shop.example")
    await edge.fill()

    await within(3, lambda: edge.finds("late.shop.example"))
    assert edge.near._head.epoch == epoch
    await within(3, counted, "the answer of Redis")
    assert edge.tier.written == 1 or edge.tier.failures, "where each answer of Redis came in time"
    assert edge.tier.written <= 1


async def test_a_refusal_is_told_to_other_nodes_for_a_moment(edge):
    edge.tier.missed("no.shop.example", edge.here.parts.state.revision)

    async def refused() -> bool:
        try:
            await edge.finds("no.shop.example")
        except NotFound:
            return True
        return False

    await within(1, refused)
    edge.revision = edge.here.parts.state.revision + 1
    assert not await refused(), "since then something was declared"


async def test_a_node_opens_only_what_it_may_serve(here, edge):
    admin = await here.token("other", "admin")
    await here.node("n1")
    await here.node("n2")
    labels = {"labels": {"region": "eu"}}
    await here.http.put("/v1/nodes/n2/labels", json=labels, headers=admin)
    domain = {"name": "*.eu.example", "on_demand": True, "nodes": {"region": "eu"}}
    await here.apply(admin, source="file:b", domains=[domain])
    await edge.obtain("x.eu.example")

    edge.node = "n2"
    edge.near.want_keys()
    await within(3, lambda: edge.finds("x.eu.example"))
    edge.node = "n1"
    edge.near.want_keys()
    await asyncio.sleep(1.1)
    await edge.found()
    assert await edge.finds("x.eu.example") is None


async def test_a_turned_over_seal_fills_redis_anew(edge):
    from tests.unit.controller.keys.test_rotation import turned_over

    before = edge.near._head.epoch
    await edge.here.parts.keys.rotated(ADMIN)
    await turned_over(edge.here)

    edge.near.want_keys()
    await within(6, edge.finds)
    assert edge.near._head.epoch != before


async def test_redis_with_tls_and_a_password(here, tmp_path, needs):
    directory = tmp_path / "tls"
    directory.mkdir()
    own = here.parts.certified.authority().issue_server([], ["127.0.0.1"], 3600, time.time())
    (directory / "server.pem").write_text(own.chain)
    (directory / "server.key").write_text(own.key.reveal())
    (directory / "ca.pem").write_text(here.parts.certified.roots())
    server = RedisServer(needs("redis-server"), directory, tls=True, password="s3cret").start()
    try:
        async with edge_of(here, Place(Secret(server.url), directory / "ca.pem")) as edge:
            await within(5, edge.finds)
        for url, ca in ((server.url, None), (server.url.replace("s3cret", "wr0ng"), directory / "ca.pem")):
            wrong = Door(Place(Secret(url), ca), 1.0)
            with pytest.raises(Unavailable) as caught:
                await wrong.values(["x"])
            assert "s3cret" not in str(caught.value) and "wr0ng" not in str(caught.value)
            await wrong.close()
    finally:
        server.kill()


def test_the_place_is_read_without_showing_its_password(tmp_path: Path):
    from edgeward.errors import Invalid
    from edgeward.redis_tier.place import place

    (tmp_path / "ca.pem").write_text("")
    found = place(
        {"EDGEWARD_REDIS": "rediss://u:s3cret@h:1/2", "EDGEWARD_REDIS_CA": str(tmp_path / "ca.pem")}
    )
    assert found is not None
    assert found.shown == "rediss://h:1/2"
    assert "s3cret" not in repr(found)
    assert place({}) is None
    for wrong in ("http://h", "redis://", "h:6379", "redis://h:port"):
        with pytest.raises(Invalid, match="rediss://USER:PASSWORD@HOST"):
            place({"EDGEWARD_REDIS": wrong})
    with pytest.raises(Invalid, match="EDGEWARD_REDIS_CA"):
        place({"EDGEWARD_REDIS": "rediss://h", "EDGEWARD_REDIS_CA": str(tmp_path / "none")})


async def test_who_was_slow_does_not_write_over_its_successor(edge):
    parts = edge.here.parts
    lease = await parts.leases.take("redis")
    successor = Tier(parts.database, parts.state, parts.certificates.issuance.seal, edge.place, time.time)
    work = asyncio.create_task(successor.work(replace(lease, token=lease.token + 1)))

    with pytest.raises(Taken):
        await asyncio.wait_for(edge._work, 30)
    await within(3, edge.finds)
    assert edge.near._head.token == lease.token + 1
    work.cancel()
    await asyncio.wait({work})
    await successor.close()
    edge._work = None
