"""Asks controllers for what a node needs at once: the one that is followed, or any other where it cannot."""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from urllib.parse import quote

from edgeward.errors import EdgewardError, Invalid, NotFound, Refused, Unavailable
from edgeward.node.certificates.obtaining import NoNewNames
from edgeward.node.certificates.secrets import Kept
from edgeward.node.controllers.following import certificate_of
from edgeward.node.controllers.known import UNREACHED, Controller, Controllers
from edgeward.node.http import Reply

_KEYS_SECONDS = 2.0
_DOWN_SECONDS = 5.0
"""Without a feed, new names fail at once for so long after one has failed; a feed ends that."""
_PATIENCE_WITHOUT_FEED = 2.0
"""How long one name waits then: a controller that hangs takes connections and never answers."""
_PATIENCE_WITH_OTHERS = 4.0
"""How long one name waits for one controller where there are more to ask."""
_T = TypeVar("_T")


class Asking:
    """``followed``: the controller that is followed now, which is asked first."""

    def __init__(self, controllers: Controllers) -> None:
        self._controllers = controllers
        self._down_until = 0.0
        self.followed: Controller | None = None

    def answered(self) -> None:
        """Note that a controller gives its feed, so that it may be asked again."""
        self._down_until = 0.0

    async def obtain(self, name: str, timeout: float) -> Kept:
        """Have a controller give, or get, a certificate for a canonical name: the one that is followed, or
        any other where it cannot.

        Raises Refused or NotFound where policy has none for it, Unavailable where there is trouble.
        """

        async def ask(controller: Controller, seconds: float) -> Kept:
            return await _obtained(controller, name, seconds)

        return await self._any(ask, timeout)

    async def challenges(self, timeout: float) -> Mapping[tuple[str, str], str]:
        """Give all challenges there are, by type and key, with what each is answered with."""
        return await self._any(_challenges, timeout)

    async def tier_keys(self) -> list[bytes]:
        """Give the keys of what this node may open in the tier in Redis; raises Unavailable."""

        async def ask(controller: Controller, seconds: float) -> list[bytes]:
            return await _tier_keys(controller, self._controllers.name, seconds)

        return await self._any(ask, _KEYS_SECONDS)

    async def _any(self, ask: Callable[[Controller, float], Awaitable[_T]], timeout: float) -> _T:
        now = time.monotonic()
        if now < self._down_until:
            raise Unavailable("the controller does not answer")
        end = now + (timeout if self.followed else min(timeout, _PATIENCE_WITHOUT_FEED))
        failure = Unavailable(UNREACHED)
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
        if not self.followed and candidates:
            self._down_until = time.monotonic() + _DOWN_SECONDS
        raise failure

    def _candidates(self) -> list[Controller]:
        others = [c for c in self._controllers.candidates() if c is not self.followed]
        return others if self.followed is None else [self.followed, *others]


def refusal(reply: Reply) -> EdgewardError:
    """Give the kind of error that a controller's answer stands for."""
    if reply.status == 403 and reply.kind == "no-new-names":
        return NoNewNames(reply.detail)
    if reply.status in (401, 403):
        return Refused(reply.detail)
    if reply.status == 404:
        return NotFound(reply.detail)
    if reply.status in (400, 422):
        return Invalid(reply.detail)
    return Unavailable(reply.detail)


async def _obtained(controller: Controller, name: str, timeout: float) -> Kept:
    reply = await controller.client.ask("POST", f"/v1/certificates/{quote(name)}/obtain", timeout)
    if reply.status == 401:
        raise Unavailable("the controller refuses this node's token")
    if reply.status not in (200, 201):
        raise refusal(reply)
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


async def _tier_keys(controller: Controller, node: str, timeout: float) -> list[bytes]:
    reply = await controller.client.ask("GET", f"/v1/nodes/{quote(node)}/tier", timeout)
    if reply.status != 200:
        raise Unavailable(reply.detail)
    try:
        return [base64.b64decode(key, validate=True) for key in reply.json()["keys"]]
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable("the controller's keys are not understood") from error
