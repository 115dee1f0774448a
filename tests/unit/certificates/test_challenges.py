from __future__ import annotations

from edgeward.certificates import challenges
from edgeward.certificates.challenges import Placed
from edgeward.database.engine import Database
from tests.unit.controller.assembled import controller

NOW = 1_800_000_000.0


def placed(key: str, expires: float = NOW + 60, value: str = "v") -> Placed:
    return Placed("http-01", key, "shop.example", value, expires)


async def value(database: Database, key: str, now: float = NOW) -> str | None:
    async with database.reading() as connection:
        return await challenges.value(connection, "http-01", key, now)


async def test_a_challenge_is_answered_until_it_is_removed_or_expires(tmp_path):
    async with controller(tmp_path) as here:
        database = here.parts.database
        async with database.writing() as writing:
            await challenges.place(writing, [placed("a"), placed("b", NOW + 1)], NOW)
        assert await value(database, "a") == "v"
        assert await value(database, "b", NOW + 2) is None
        assert await value(database, "c") is None

        async with database.writing() as writing:
            await challenges.place(writing, [placed("a", value="other")], NOW)
        assert await value(database, "a") == "other"

        async with database.writing() as writing:
            await challenges.remove(writing, [("http-01", "a")])
        assert await value(database, "a") is None
        assert await value(database, "b") == "v"


async def test_what_has_expired_is_forgotten_when_more_is_placed(tmp_path):
    async with controller(tmp_path) as here:
        database = here.parts.database
        async with database.writing() as writing:
            await challenges.place(writing, [placed("a", NOW + 1)], NOW)
        async with database.writing() as writing:
            await challenges.place(writing, [placed("b", NOW + 99)], NOW + 2)
        assert await value(database, "a") is None


async def test_a_node_is_told_what_to_answer(tmp_path):
    async with controller(tmp_path) as here:
        node = await here.node("n1")
        clock = 4_000_000_000.0
        async with here.parts.database.writing() as writing:
            await challenges.place(
                writing, [Placed("tls-alpn-01", "a.example", "a.example", "secret", clock)], 0.0
            )
        answer = await here.http.get("/v1/challenges/tls-alpn-01/a.example", headers=node)
        other = await here.http.get("/v1/challenges/http-01/a.example", headers=node)

    assert answer.json() == {"type": "tls-alpn-01", "key": "a.example", "value": "secret"}
    assert other.status_code == 404
