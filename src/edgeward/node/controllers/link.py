"""The node's line to the controller that it follows: the feed, and what it tells of itself."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from pydantic import ValidationError

from edgeward.declaration import feed
from edgeward.declaration.feed import PROTOCOL
from edgeward.errors import EdgewardError, Invalid, Refused, Unavailable
from edgeward.log import logger
from edgeward.node.controllers.asking import Asking, refusal
from edgeward.node.controllers.catching_up import CatchingUp
from edgeward.node.controllers.following import Following
from edgeward.node.controllers.known import UNREACHED, Controller, Controllers
from edgeward.parsing import problems_of

log = logger(__name__)
_SILENCE_SECONDS = 8.0
_POST_SECONDS = 5.0
_SAY_SECONDS = 60.0
_ROOTS_SECONDS = 3600.0
"""A new root is published long before it signs: asking each hour never misses it."""
_LOOK_SECONDS = 5.0
"""How often a better controller is looked for while the one that is followed is not ready."""


class Link:
    """``asked(ask)`` is called with each question of a controller."""

    def __init__(
        self,
        controllers: Controllers,
        asking: Asking,
        following: Following,
        asked: Callable[[feed.Ask | feed.Run | feed.Steer], Awaitable[None]],
        caught_up: CatchingUp,
    ) -> None:
        self._controllers = controllers
        self._asking = asking
        self._following = following
        self._asked = asked
        self._caught_up = caught_up
        self._current: Controller | None = None
        self.followed: list[Callable[[], None]] = []
        """Called when a feed begins."""
        self.gateways: Callable[[feed.Gateways], None] = lambda message: None
        """Called with what the controller says of gateways of tunnels."""
        self._said = float("-inf")
        self._roots_at = float("-inf")
        self._looked = float("-inf")

    @property
    def connected(self) -> bool:
        return self._asking.followed is not None

    @property
    def controller(self) -> str | None:
        """The one that is followed."""
        return None if self._asking.followed is None else self._asking.followed.url

    async def run(self) -> None:
        """Follow a feed for ever: after each cut again, from where it stopped, and of another controller
        where there is one that works.
        """
        while True:
            controller = None
            try:
                await self._controllers.refresh()
                controller = self._controllers.candidates()[0]
                await asyncio.sleep(max(0.0, controller.retry_at - time.monotonic()))
                await self._follow(controller)
            except EdgewardError as error:
                self._lost(error)
                if controller is None:
                    await asyncio.sleep(1.0)
                else:
                    controller.failed(error, time.monotonic())
            finally:
                self._asking.followed = None

    def _lost(self, error: EdgewardError) -> None:
        now = time.monotonic()
        if not self.connected and now - self._said < _SAY_SECONDS:
            return
        self._said = now
        if isinstance(error, Refused):
            log.error("the controller refuses this node", problem=str(error))
        elif self.connected:
            log.warning("lost the controller; serving what is known", problem=str(error))
        else:
            log.warning("the controller cannot be followed; serving what is known", problem=str(error))

    async def _follow(self, controller: Controller) -> None:
        self._current = controller
        revision, store = self._following.since
        path = f"/v1/nodes/{quote(self._controllers.name)}/watch"
        query: dict[str, str | int] = {"since": revision, "store": store, "protocol": PROTOCOL}
        try:
            async with controller.client.lines(path, _SILENCE_SECONDS, **query) as (reply, lines):
                if reply.status != 200:
                    raise refusal(reply)
                self._asking.answered()
                async for line in lines:
                    await self._take(controller, line)
            raise Unavailable("the controller ended the feed")
        finally:
            await self._following.ended()

    async def _take(self, controller: Controller, line: bytes) -> None:
        try:
            message = feed.read(line)
        except ValidationError as error:
            raise Unavailable(f"a message of the feed is not understood: {problems_of(error)[0]}") from error
        self._caught_up.line(line)
        if isinstance(message, feed.ChangeMessage):
            await self._following.change(message)
            self._caught_up.change(message)
        elif isinstance(message, feed.Synced):
            await self._following.completed(message)
            self._caught_up.synced(message, controller.url)
            controller.works()
        elif isinstance(message, feed.Gateways):
            self.gateways(message)
        elif isinstance(message, feed.Ask | feed.Run | feed.Steer):
            await self._asked(message)
        elif isinstance(message, feed.Hello):
            await self._begin(controller, message)
        elif isinstance(message, feed.Ping) and not message.ready:
            await self._look_for_better(controller)
        if self._following.must_begin_anew:
            raise Unavailable("the sealed copy is damaged; the whole state is taken anew")
        if time.monotonic() - self._roots_at >= _ROOTS_SECONDS:
            self._roots_at = time.monotonic()
            await self._renew_roots(controller)

    async def _begin(self, controller: Controller, hello: feed.Hello) -> None:
        controller.protocol = hello.protocol
        for call in self.followed:
            call()
        await self._following.hello(hello)
        self._caught_up.hello(hello)
        self._controllers.prefer(controller)
        if not self.connected:
            log.info("following the controller", controller=controller.url, version=hello.version)
        self._asking.followed = controller
        await self._controllers.learn(hello.controllers)

    async def _look_for_better(self, controller: Controller) -> None:
        """Leave a controller that says it is not ready for one that is; stay where none is."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        better = await self._controllers.better(controller)
        if better is not None:
            self._controllers.prefer(better)
            better.works()
            raise Unavailable(f"the controller is not ready; {better.url} is")

    async def _renew_roots(self, controller: Controller) -> None:
        """Keep the authority's roots as the controller, trusted by those of before, publishes them."""
        identity = self._controllers.identity
        try:
            reply = await controller.client.ask("GET", "/v1/ca/root", _POST_SECONDS)
            roots = reply.body.decode()
            if identity is None or reply.status != 200 or roots == identity.ca:
                return
            ssl.create_default_context(cadata=roots)
            await self._controllers.remember(ca=roots)
        except (Unavailable, Invalid, UnicodeDecodeError, ssl.SSLError) as error:
            log.warning("the authority's roots are as before", problem=str(error))
            return
        log.info("the authority's roots are renewed")

    async def report(self, report: feed.Report) -> None:
        """Tell the controller how this node is; raises Unavailable where it does not take it."""
        await self._post("report", report)

    async def tunnels(self, tunnels: feed.Tunnels) -> None:
        """Tell the controller how tunnels do; raises the kind of error that says why it is not taken."""
        await self._post("tunnels", tunnels)

    async def answer(self, answer: feed.Answer) -> None:
        await self._post("answers", answer)

    async def _post(self, what: str, said: feed.Report | feed.Answer | feed.Tunnels) -> None:
        controller = self._current
        if controller is None:
            raise Unavailable(UNREACHED)
        body = json.dumps(feed.dumped(said, controller.protocol))
        path = f"/v1/nodes/{quote(self._controllers.name)}/{what}"
        reply = await controller.client.ask("POST", path, _POST_SECONDS, body)
        if reply.status not in (200, 204):
            raise refusal(reply)

    async def close(self) -> None:
        await self._controllers.close()
