from __future__ import annotations

import shutil

from sqlalchemy import insert

from edgeward.certificates.acme import challenges
from edgeward.database import schema
from tests.unit.controller.assembled import controller

AFTER = 4_000_000_000.0


async def placed(here, kind: str, key: str, expires: float) -> None:
    row = {"type": kind, "key": key, "name": "a.example", "value": f"{key}.print", "expires": expires}
    async with here.parts.database.writing() as writing:
        await writing.connection.execute(insert(schema.challenges).values(row))


async def test_nodes_are_told_what_may_be_asked_for_now(tmp_path):
    async with controller(tmp_path) as here:
        node = await here.node("n1")
        await placed(here, "http-01", "over", 1.0)
        await placed(here, "http-01", "token", AFTER)
        await placed(here, "tls-alpn-01", "a.example", AFTER + 1)
        answer = await here.http.get("/v1/challenges", headers=node)

    assert answer.json()["items"] == [
        {"type": "tls-alpn-01", "key": "a.example", "value": "a.example.print"},
        {"type": "http-01", "key": "token", "value": "token.print"},
    ]


async def test_of_very_many_the_last_ones_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(challenges, "_MOST", 2)
    async with controller(tmp_path) as here:
        for n in range(4):
            await placed(here, "http-01", str(n), AFTER + n)
        async with here.parts.database.reading() as connection:
            found = await challenges.answers(connection, 1.0)

    assert [answer.key for answer in found] == ["3", "2"]


async def test_any_controller_tells_what_another_ones_order_put_up(tmp_path, postgres_url):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with controller(tmp_path / "a", postgres_url) as one:
        shutil.copy(tmp_path / "a" / "seal.key", tmp_path / "b" / "seal.key")
        async with controller(tmp_path / "b", postgres_url) as other:
            node = await other.node("n1")
            await placed(one, "http-01", "token", AFTER)
            answer = await other.http.get("/v1/challenges", headers=node)

    assert [item["key"] for item in answer.json()["items"]] == ["token"]
