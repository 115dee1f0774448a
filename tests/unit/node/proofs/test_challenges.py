from __future__ import annotations

import asyncio
from collections.abc import Mapping

from edgeward.errors import Unavailable
from edgeward.node.proofs.challenges import Challenges


class Controller:
    def __init__(self) -> None:
        self.known: dict[tuple[str, str], str] = {}
        self.looks = 0
        self.seconds = 0.0
        self.down = False

    async def fetch(self, _: float) -> Mapping[tuple[str, str], str]:
        self.looks += 1
        seen = dict(self.known)
        await asyncio.sleep(self.seconds)
        if self.down:
            raise Unavailable("down")
        return seen


async def test_what_is_put_up_is_found_at_once_also_while_a_look_is_under_way():
    controller = Controller()
    controller.seconds = 0.05
    challenges = Challenges(controller.fetch)
    early = asyncio.create_task(challenges.find("http-01", "early"))
    await asyncio.sleep(0.02)
    controller.known["http-01", "late"] = "value"

    assert await challenges.find("http-01", "late") == "value"
    assert await early is None
    assert controller.looks == 2
    assert await challenges.find("http-01", "late") == "value"
    assert await challenges.find("tls-alpn-01", "late") is None
    assert controller.looks == 3


async def test_a_flood_of_made_up_tokens_is_a_few_looks_and_keeps_no_authority_from_its_answer():
    controller = Controller()
    challenges = Challenges(controller.fetch)
    flood = [asyncio.create_task(challenges.find("http-01", str(n))) for n in range(5000)]
    await asyncio.sleep(0)
    controller.known["http-01", "real"] = "value"
    flood += [asyncio.create_task(challenges.find("http-01", f"more-{n}")) for n in range(5000)]

    assert await challenges.find("http-01", "real") == "value"
    assert set(await asyncio.gather(*flood)) == {None}
    assert controller.looks <= 3


async def test_where_nobody_answers_what_was_known_is_still_answered_and_no_wait_is_for_ever():
    controller = Controller()
    controller.known["http-01", "a"] = "value"
    challenges = Challenges(controller.fetch, seconds=0.1)
    await challenges.find("http-01", "a")
    controller.down = True

    assert await challenges.find("http-01", "b") is None
    assert await challenges.find("http-01", "a") == "value"


async def test_an_authority_that_asks_while_the_controller_is_started_again_gets_its_answer():
    controller = Controller()
    controller.known["http-01", "a"] = "value"
    controller.down = True
    challenges = Challenges(controller.fetch)
    asked = asyncio.create_task(challenges.find("http-01", "a"))
    await asyncio.sleep(0.3)
    assert not asked.done()
    controller.down = False

    assert await asked == "value"


async def test_who_stops_waiting_takes_nobody_along():
    controller = Controller()
    controller.seconds = 0.02
    controller.known["http-01", "a"] = "value"
    challenges = Challenges(controller.fetch)
    first, second = (asyncio.create_task(challenges.find("http-01", "a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()

    assert await second == "value"
