"""The node's line to its controllers: the feed, certificates for new names, reports and answers."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from edgeward.declaration import feed
from edgeward.declaration.feed import PROTOCOL
from edgeward.errors import EdgewardError, Invalid, NotFound, Refused, Unavailable
from edgeward.log import logger
from edgeward.node.certificates.obtaining import NoNewNames
from edgeward.node.certificates.secrets import Kept
from edgeward.node.controllers.catching_up import CatchingUp
from edgeward.node.controllers.following import Following, certificate_of
from edgeward.node.controllers.known import Controller, Controllers
from edgeward.node.http import Reply
from edgeward.parsing import problems_of

log = logger(__name__)
_SILENCE_SECONDS = 8.0
_POST_SECONDS = 5.0
_KEYS_SECONDS = 2.0
_SAY_SECONDS = 60.0
_ROOTS_SECONDS = 3600.0
"""A new root is published long before it signs: asking each hour never misses it."""
_DOWN_SECONDS = 5.0
"""Without a feed, new names fail at once for so long after one has failed; a feed ends that."""
_PATIENCE_WITHOUT_FEED = 2.0
"""How long one name waits then: a controller that hangs takes connections and never answers."""
_PATIENCE_WITH_OTHERS = 4.0
"""How long one name waits for one controller where there are more to ask."""
_LOOK_SECONDS = 5.0
"""How often a better controller is looked for while the one that is followed is not ready."""
_T = TypeVar("_T")
_NO_CONTROLLER = "the controller has not been reached yet"


class Link:
    """``asked(ask)`` is called with each question of a controller."""

    def __init__(
        self,
        controllers: Controllers,
        following: Following,
        asked: Callable[[feed.Ask | feed.Run | feed.Steer], Awaitable[None]],
        caught_up: CatchingUp,
    ) -> None:
        self._controllers = controllers
        self._following = following
        self._asked = asked
        self._caught_up = caught_up
        self._current: Controller | None = None
        self.followed: list[Callable[[], None]] = []
        """Called when a feed begins."""
        self.gateways: Callable[[feed.Gateways], None] = lambda message: None
        """Called with what the controller says of gateways of tunnels."""
        self._down_until = 0.0
        self._said = float("-inf")
        self._roots_at = float("-inf")
        self._looked = float("-inf")
        self.connected = False

    @property
    def controller(self) -> str | None:
        """The one that is followed."""
        return self._current.url if self._current is not None and self.connected else None

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
                self.connected = False

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
        path = f"/v1/nodes/{quote(self._name)}/watch"
        query: dict[str, str | int] = {"since": revision, "store": store, "protocol": PROTOCOL}
        try:
            async with controller.client.lines(path, _SILENCE_SECONDS, **query) as (reply, lines):
                if reply.status != 200:
                    raise _kind(reply)
                self._down_until = 0.0
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
        self.connected = True
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

    async def obtain(self, name: str, timeout: float) -> Kept:
        """Have a controller give, or get, a certificate for a canonical name: the one that is followed, or
        any other where it cannot.

        Raises Refused or NotFound where policy has none for it, Unavailable where there is trouble.
        """

        async def ask(controller: Controller, seconds: float) -> Kept:
            return await _obtained(controller, name, seconds)

        return await self._asked_of_any(ask, timeout)

    async def challenges(self, timeout: float) -> Mapping[tuple[str, str], str]:
        """Give all challenges there are, by type and key, with what each is answered with."""
        return await self._asked_of_any(_challenges, timeout)

    async def tier_keys(self) -> list[bytes]:
        """Give the keys of what this node may open in the tier in Redis; raises Unavailable."""

        async def ask(controller: Controller, seconds: float) -> list[bytes]:
            reply = await controller.client.ask("GET", f"/v1/nodes/{quote(self._name)}/tier", seconds)
            if reply.status != 200:
                raise Unavailable(reply.detail)
            try:
                return [base64.b64decode(key, validate=True) for key in reply.json()["keys"]]
            except (KeyError, TypeError, ValueError) as error:
                raise Unavailable("the controller's keys are not understood") from error

        return await self._asked_of_any(ask, _KEYS_SECONDS)

    async def _asked_of_any(self, ask: Callable[[Controller, float], Awaitable[_T]], timeout: float) -> _T:
        now = time.monotonic()
        if now < self._down_until:
            raise Unavailable("the controller does not answer")
        end = now + (timeout if self.connected else min(timeout, _PATIENCE_WITHOUT_FEED))
        failure = Unavailable(_NO_CONTROLLER)
        candidates = self._candidates()
        for index, controller in enumerate(candidates):
            left = end - time.monotonic()
            if left <= 0:
                break
            more = index + 1 < len(candidates)
            try:
                return await ask(controller, min(left, _PATIENCE_WITH_OTHERS) if more else left)
            except Unavailable as error:
                failure = error
        if not self.connected and candidates:
            self._down_until = time.monotonic() + _DOWN_SECONDS
        raise failure

    def _candidates(self) -> list[Controller]:
        current = self._current if self.connected else None
        others = [c for c in self._controllers.candidates() if c is not current]
        return [current, *others] if current is not None else others

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
            raise Unavailable(_NO_CONTROLLER)
        body = json.dumps(feed.dumped(said, controller.protocol))
        path = f"/v1/nodes/{quote(self._name)}/{what}"
        reply = await controller.client.ask("POST", path, _POST_SECONDS, body)
        if reply.status not in (200, 204):
            raise _kind(reply)

    @property
    def _name(self) -> str:
        identity = self._controllers.identity
        if identity is None:
            raise Unavailable(_NO_CONTROLLER)
        return identity.name

    async def close(self) -> None:
        await self._controllers.close()


async def _obtained(controller: Controller, name: str, timeout: float) -> Kept:
    reply = await controller.client.ask("POST", f"/v1/certificates/{quote(name)}/obtain", timeout)
    if reply.status == 401:
        raise Unavailable("the controller refuses this node's token")
    if reply.status not in (200, 201):
        raise _kind(reply)
    value = reply.json()
    try:
        return certificate_of(value, str(value["name"]), str(value["project"]), int(value["revision"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable("the controller's certificate is not understood") from error


async def _challenges(controller: Controller, timeout: float) -> Mapping[tuple[str, str], str]:
    reply = await controller.client.ask("GET", "/v1/challenges", timeout)
    if reply.status != 200:
        raise Unavailable(reply.detail)
    try:
        items = reply.json()["items"]
        return {(str(item["type"]), str(item["key"])): str(item["value"]) for item in items}
    except (KeyError, TypeError) as error:
        raise Unavailable("the controller's challenges are not understood") from error


def _kind(reply: Reply) -> EdgewardError:
    if reply.status == 403 and reply.kind == "no-new-names":
        return NoNewNames(reply.detail)
    if reply.status in (401, 403):
        return Refused(reply.detail)
    if reply.status == 404:
        return NotFound(reply.detail)
    if reply.status in (400, 422):
        return Invalid(reply.detail)
    return Unavailable(reply.detail)
