from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from edgeward.certificates.on_demand.ask import Asker
from edgeward.errors import Refused, Unavailable
from tests.unit.certificates.asked import Asked, somebody_asked

NAME = "shop.example"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    async with somebody_asked() as made:
        yield made


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    made = Asker(Clock())
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("rest", "target"),
    [
        ("/check", "/check?domain=shop.example"),
        ("", "/?domain=shop.example"),
        ("/check?key=a%20b&x=1", "/check?key=a+b&x=1&domain=shop.example"),
        ("/check?domain=other", "/check?domain=shop.example"),
    ],
)
async def test_the_question_is_as_caddys(asked, asker, rest, target):
    await asker.learn(asked.url(rest), NAME)

    asker.said(asked.url(rest), NAME)
    assert asked.lines == [f"GET {target} HTTP/1.1"]


@pytest.mark.parametrize(
    "status", ["204 No Content", "302 Found", "403 Forbidden", "404 Not Found", "500 Oops", "201 Created"]
)
async def test_anything_but_200_is_a_no_and_redirects_are_not_followed(asked, asker, status):
    asked.status, asked.headers = status, "Location: /yes\r\n"
    await asker.learn(asked.url(), NAME)

    with pytest.raises(Refused, match=status[:3]):
        asker.said(asked.url(), NAME)
    assert len(asked.lines) == 1


async def test_answers_are_remembered_a_while_and_yes_longer_than_no(asked):
    clock = Clock()
    asker = Asker(clock)
    for status, seconds in (("200 OK", 60), ("404 Not Found", 10)):
        asked.status, asked.lines = status, []
        for _ in range(3):
            await asker.learn(asked.url(), status[:3] + ".example")
        clock.now += seconds - 1
        await asker.learn(asked.url(), status[:3] + ".example")
        assert len(asked.lines) == 1
        clock.now += 2
        assert not asker.knows(asked.url(), status[:3] + ".example")
        await asker.learn(asked.url(), status[:3] + ".example")
        assert len(asked.lines) == 2
    await asker.close()


async def test_who_does_not_answer_says_neither_yes_nor_no(asked, asker):
    await asker.learn("http://127.0.0.1:1/check?secret=x", NAME)
    with pytest.raises(Unavailable) as said:
        asker.said("http://127.0.0.1:1/check?secret=x", NAME)

    assert "http://127.0.0.1:1/check" in str(said.value) and "secret" not in str(said.value)
    with pytest.raises(Unavailable):
        asker.said(asked.url(), NAME)


async def test_a_server_that_hangs_is_waited_for_in_bounded_time(asked, asker, monkeypatch):
    monkeypatch.setattr("edgeward.certificates.on_demand.ask._SECONDS", 0.4)
    asked.silent = True
    await asyncio.wait_for(asyncio.gather(*(asker.learn(asked.url(), f"{n}.example") for n in range(40))), 30)

    with pytest.raises(Unavailable, match="in time"):
        asker.said(asked.url(), "0.example")


async def test_no_more_answers_are_remembered_than_there_is_room_for(asked, asker, monkeypatch):
    monkeypatch.setattr("edgeward.certificates.on_demand.ask._MOST_REMEMBERED", 5)
    for n in range(8):
        await asker.learn(asked.url(), f"{n}.example")

    known = [n for n in range(8) if asker.knows(asked.url(), f"{n}.example")]
    assert known == [3, 4, 5, 6, 7]
