"""Controllers that are far away and answer as a test has them do, and a node that knows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from edgeward.declaration.feed import Identity
from edgeward.node.controllers import identity as identities
from edgeward.node.controllers.asking import Asking
from edgeward.node.controllers.catching_up import CatchingUp
from edgeward.node.controllers.known import Controllers
from edgeward.node.controllers.link import Link
from edgeward.node.http import HttpClient
from tests.unit.node.controllers.test_following import Node

A, B, C = (f"https://192.0.2.{n}:2443" for n in (1, 2, 3))
Answer = Callable[[httpx.Request], httpx.Response]


class Far:
    """Controllers that are far away: ``answers`` says how each answers, by the host."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[dict[str, Any]] = []

    def client(self, base: str, _ca: str, _token: str) -> HttpClient:
        transport = httpx.MockTransport(self._answer)
        return HttpClient(httpx.AsyncClient(transport=transport, base_url=base))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        url = f"https://{request.url.netloc.decode()}"
        self.asked.append((url, request.url.path))
        if request.content:
            self.bodies.append(json.loads(request.content))
        answer = self.answers.get(url)
        if answer is None:
            raise httpx.ConnectError("nobody there")
        return answer(request)


class Here:
    def __init__(self, directory: Path, *urls: str) -> None:
        self.now = 0.0
        self.file = directory / "node" / "identity.json"
        identities.save(self.file, Identity(name="n", controller=A, token="t", ca="", controllers=urls))
        self.controllers = Controllers(self.file, (), lambda: self.now)
        node = Node(directory / "copy.db")
        self.asking = Asking(self.controllers)
        self.link = Link(self.controllers, self.asking, node.following, _unasked, CatchingUp())


async def _unasked(_: object) -> None:
    raise AssertionError


def gives(value: object, status: int = 200) -> Answer:
    return lambda _: httpx.Response(status, json=value)


CERTIFICATE = {
    "name": "a.example", "project": "default", "revision": 3, "chain": "c", "key": "k", "fingerprint": "f",
    "not_after": "2100-01-01T00:00:00+00:00",
}  # fmt: skip
