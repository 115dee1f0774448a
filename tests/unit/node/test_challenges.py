from __future__ import annotations

import asyncio

from edgeward.errors import Unavailable
from edgeward.node.challenges import Challenges


class Controller:
    def __init__(self) -> None:
        self.known: dict[tuple[str, str], str] = {}
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0
        self.answers = asyncio.Event()
        self.down = False

    async def fetch(self, kind: str, key: str, _: float) -> str | None:
        self.asked.append(key)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.answers.wait()
        finally:
            self.at_once -= 1
        if self.down:
            raise Unavailable("down")
        return self.known.get((kind, key))


async def test_many_who_ask_for_one_thing_are_one_question():
    controller = Controller()
    controller.known["http-01", "t"] = "value"
    challenges = Challenges(controller.fetch)
    waiting = [asyncio.create_task(challenges.find("http-01", "t")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # who leaves takes nobody along
    controller.answers.set()

    assert await asyncio.gather(*waiting[1:]) == ["value"] * 49
    assert controller.asked == ["t"]


async def test_what_is_not_there_is_asked_once_a_second_and_trouble_is_not_remembered():
    controller = Controller()
    controller.answers.set()
    challenges = Challenges(controller.fetch)

    assert [await challenges.find("http-01", "x") for _ in range(5)] == [None] * 5
    assert controller.asked == ["x"]
    controller.down = True
    assert [await challenges.find("http-01", "y") for _ in range(2)] == [None] * 2
    assert controller.asked == ["x", "y", "y"]


async def test_a_flood_of_made_up_tokens_is_bounded():
    controller = Controller()
    challenges = Challenges(controller.fetch)
    waiting = [asyncio.create_task(challenges.find("http-01", str(n))) for n in range(2000)]
    for _ in range(5):
        await asyncio.sleep(0)

    assert sum(task.done() for task in waiting) == 1500  # told at once that there is nothing
    controller.answers.set()
    assert await asyncio.gather(*waiting) == [None] * 2000
    assert controller.most_at_once <= 16
    assert len(controller.asked) == 500
