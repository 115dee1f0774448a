from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from edgeward.errors import EdgewardError, NotFound, Unavailable
from edgeward.gateway.model import Service
from edgeward.node.backends.addresses import Backends
from edgeward.node.backends.resolver import Resolved


class Names:
    """DNS in memory; an error as the answer is raised."""

    def __init__(self, **answers: Resolved | EdgewardError) -> None:
        self.answers = {name.replace("_", "."): answer for name, answer in answers.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str) -> Resolved:
        self.asked.append(host)
        answer = self.answers[host]
        if isinstance(answer, EdgewardError):
            raise answer
        return answer


def service(*urls: str, allow: tuple[str, ...] = ()) -> Service:
    return Service(name="shop", backends=urls, allow_networks=allow)  # type: ignore[arg-type]


@asynccontextmanager
async def running(backends: Backends) -> AsyncIterator[list[set[str]]]:
    changes: list[set[str]] = []
    backends.changed = changes.append
    task = asyncio.create_task(backends.run())
    await asyncio.sleep(0)
    yield changes
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def soon() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_name_is_pending_until_its_first_answer() -> None:
    shop = service("http://db.internal:80")
    backends = Backends(Names(db_internal=Resolved(("10.0.0.7",), 60)), {})
    async with running(backends) as changes:
        backends.want([shop])
        assert backends.pending(shop)
        await soon()

        assert not backends.pending(shop)
        assert backends.addresses(shop) == {"db.internal": ["10.0.0.7"]}
        assert changes == [{"db.internal"}]
        assert backends.problem(shop) == ""


async def test_the_last_good_answer_is_kept_when_dns_fails_and_the_failure_is_told() -> None:
    names = Names(db_internal=Unavailable("DNS does not answer in time"))
    shop = service("http://db.internal:80")
    backends = Backends(names, {"db.internal": ["10.0.0.7"]})
    async with running(backends):
        backends.want([shop])
        assert not backends.pending(shop), "the remembered answer serves from the start"
        await soon()

        assert backends.addresses(shop) == {"db.internal": ["10.0.0.7"]}
        assert "does not answer in time" in backends.problem(shop)
        assert "last good answer" in backends.problem(shop)


async def test_a_name_that_is_not_there_gives_no_addresses_and_a_reason() -> None:
    shop = service("http://db.internal:80")
    backends = Backends(Names(db_internal=NotFound("there is no such name in DNS")), {})
    async with running(backends):
        backends.want([shop])
        await soon()

        assert not backends.pending(shop)
        assert backends.addresses(shop) == {"db.internal": []}
        assert backends.problem(shop) == "db.internal: there is no such name in DNS"


async def test_addresses_a_tenant_must_not_reach_are_dropped_and_told() -> None:
    answer = Resolved(("127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "10.0.0.7"), 60)
    shop = service("http://db.internal:80")
    backends = Backends(Names(db_internal=answer), {})
    async with running(backends):
        backends.want([shop])
        await soon()

        assert backends.addresses(shop) == {"db.internal": ["10.0.0.7"]}
        assert "127.0.0.1, 169.254.169.254" in backends.problem(shop)
        assert "allow_networks" in backends.problem(shop)
        allowed = service("http://db.internal:80", allow=("127.0.0.0/8",))
        assert backends.addresses(allowed) == {"db.internal": ["127.0.0.1", "10.0.0.7"]}


async def test_a_short_ttl_is_followed_and_nothing_is_said_where_nothing_changed() -> None:
    names = Names(db_internal=Resolved(("10.0.0.7",), 0))
    backends = Backends(names, {})
    async with running(backends) as changes:
        backends.want([service("http://db.internal:80")])
        async with asyncio.timeout(30):
            while len(names.asked) < 2:
                await asyncio.sleep(0.02)

        assert set(names.asked) == {"db.internal"}
        assert len(changes) == 1


async def test_names_nobody_uses_are_asked_no_more() -> None:
    names = Names(db_internal=Resolved(("10.0.0.7",), 0))
    backends = Backends(names, {})
    async with running(backends):
        backends.want([service("http://db.internal:80", "http://192.0.2.1:80", "unix:/run/app.sock")])
        await soon()
        backends.want([])
        await asyncio.sleep(1.2)

        assert names.asked == ["db.internal"]
        assert backends.good() == {}


async def test_a_name_that_comes_again_is_not_where_it_was_before_the_start() -> None:
    shop = service("http://db.internal:80")
    names = Names(db_internal=Resolved(("10.0.0.8",), 60))
    backends = Backends(names, {"db.internal": ["10.0.0.7"]})
    async with running(backends):
        backends.want([shop])
        assert backends.addresses(shop) == {"db.internal": ["10.0.0.7"]}
        await soon()
        backends.want([])
        names.answers["db.internal"] = Unavailable("DNS is gone")
        backends.want([shop])

        assert backends.pending(shop)
        await soon()
        assert backends.addresses(shop) == {"db.internal": []}
