from __future__ import annotations

from sqlalchemy import insert

from edgeward.certificates import challenges
from edgeward.database import schema
from tests.unit.controller.assembled import controller

NOW = 1_800_000_000.0
AFTER = 4_000_000_000.0


async def placed(here, kind: str, key: str, expires: float) -> None:
    row = {"type": kind, "key": key, "name": "a.example", "value": f"{key}.print", "expires": expires}
    async with here.parts.database.writing() as writing:
        await writing.connection.execute(insert(schema.challenges).values(row))


async def test_a_challenge_is_answered_until_it_expires(tmp_path):
    async with controller(tmp_path) as here:
        await placed(here, "http-01", "token", NOW + 1)
        async with here.parts.database.reading() as connection:
            assert await challenges.value(connection, "http-01", "token", NOW) == "token.print"
            assert await challenges.value(connection, "http-01", "token", NOW + 1) is None
            assert await challenges.value(connection, "http-01", "other", NOW) is None
            assert await challenges.value(connection, "tls-alpn-01", "token", NOW) is None


async def test_a_node_is_told_what_to_answer(tmp_path):
    async with controller(tmp_path) as here:
        node = await here.node("n1")
        await placed(here, "tls-alpn-01", "a.example", AFTER)
        answer = await here.http.get("/v1/challenges/tls-alpn-01/a.example", headers=node)
        other = await here.http.get("/v1/challenges/http-01/a.example", headers=node)

    assert answer.json() == {"type": "tls-alpn-01", "key": "a.example", "value": "a.example.print"}
    assert other.status_code == 404
