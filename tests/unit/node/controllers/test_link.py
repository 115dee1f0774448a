"""The line to the controller that is followed: which one that is, and what is said to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx

from edgeward.declaration.feed import EnvoyState, Hello, Report
from tests.unit.node.controllers.far import CERTIFICATE, A, B, C, Far, Here, gives
from tests.unit.node.controllers.test_following import hello


async def test_an_older_controller_is_told_nothing_that_it_would_refuse(here: Here, far: Far) -> None:
    report = Report(version="2", protocol=2, revision=1, received=1, envoy=EnvoyState(state="serving"))
    for url in (A, B, C):
        far.answers[url] = gives(None, 204)
    controller = here.controllers.candidates()[0]
    here.link._current = controller
    for protocol in (1, 2):
        controller.protocol = protocol
        await here.link.report(report)
    assert ["protocol" in body for body in far.bodies] == [False, True]


def test_a_hello_of_this_version_says_what_it_speaks() -> None:
    assert Hello.model_validate(hello().model_dump()).protocol == 1


async def test_a_controller_is_followed_and_asked_first_until_its_feed_ends_and_then_another_is(
    here: Here, far: Far
) -> None:
    first, second, _ = here.controllers.candidates()
    ended, never = asyncio.Event(), asyncio.Event()

    async def feed(host: str) -> AsyncIterator[bytes]:
        yield hello().model_dump_json().encode() + b"\n"
        await (ended if host in first.url else never).wait()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/watch"):
            return httpx.Response(200, content=feed(request.url.host))
        return httpx.Response(404) if request.url.path == "/v1/ca/root" else gives(CERTIFICATE)(request)

    far.answers = {first.url: answer, second.url: answer}
    following = asyncio.create_task(here.link.run())
    try:
        await _until(lambda: here.link.connected)
        assert here.link.controller == first.url
        far.asked.clear()
        await here.asking.obtain("a.example", 5.0)
        assert far.asked == [(first.url, "/v1/certificates/a.example/obtain")]

        del far.answers[first.url]
        ended.set()
        await _until(lambda: here.link.controller == second.url)
    finally:
        following.cancel()
        await asyncio.wait([following])
    assert (here.link.connected, here.link.controller) == (False, None)


async def _until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.005)
