"""The line to several controllers: which is asked, and what is said to which."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeward.declaration.feed import EnvoyState, Hello, Identity, Report
from edgeward.errors import Refused, Unavailable
from edgeward.node.controllers import identity as identities
from edgeward.node.controllers import known
from edgeward.node.controllers.catching_up import CatchingUp
from edgeward.node.controllers.known import Controllers, spread
from edgeward.node.controllers.link import Link
from edgeward.node.http import HttpClient
from tests.unit.node.controllers.test_following import Node, hello

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


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    made = Far()
    monkeypatch.setattr(known.HttpClient, "over_tls", made.client)
    yield made


class Here:
    def __init__(self, directory: Path, *urls: str) -> None:
        self.now = 0.0
        self.file = directory / "node" / "identity.json"
        identities.save(self.file, Identity(name="n", controller=A, token="t", ca="", controllers=urls))
        self.controllers = Controllers(self.file, (), lambda: self.now)
        node = Node(directory / "copy.db")
        self.link = Link(self.controllers, node.following, _unasked, CatchingUp())


async def _unasked(_: object) -> None:
    raise AssertionError


@pytest.fixture
async def here(tmp_path: Path, far: Far) -> Here:
    made = Here(tmp_path, B, C)
    await made.controllers.refresh()
    return made


def gives(value: object, status: int = 200) -> Answer:
    return lambda _: httpx.Response(status, json=value)


CERTIFICATE = {
    "name": "a.example", "project": "default", "revision": 3, "chain": "c", "key": "k", "fingerprint": "f",
    "not_after": "2100-01-01T00:00:00+00:00",
}  # fmt: skip


@pytest.mark.parametrize(
    "first", [None, gives({"detail": "no database"}, 503), gives({}, 429), gives({}, 401)]
)
async def test_a_name_is_obtained_of_any_controller_that_works(
    here: Here, far: Far, first: Answer | None
) -> None:
    order = [c.url for c in here.controllers.candidates()]
    if first is not None:
        far.answers[order[0]] = first
    far.answers[order[2]] = gives(CERTIFICATE)

    kept = await here.link.obtain("a.example", 5.0)

    assert kept.name == "a.example"
    assert [url for url, _ in far.asked] == order


async def test_what_one_controller_refuses_by_policy_no_other_is_asked_for(here: Here, far: Far) -> None:
    for url in (A, B, C):
        far.answers[url] = gives({"detail": "served on other nodes"}, 403)
    with pytest.raises(Refused, match="served on other nodes"):
        await here.link.obtain("a.example", 5.0)
    assert len(far.asked) == 1


async def test_where_no_controller_answers_new_names_fail_at_once_for_a_while(here: Here, far: Far) -> None:
    with pytest.raises(Unavailable):
        await here.link.obtain("a.example", 5.0)
    far.asked.clear()
    with pytest.raises(Unavailable):
        await here.link.obtain("b.example", 5.0)
    assert far.asked == []


async def test_one_that_failed_is_the_last_to_be_tried_again(here: Here) -> None:
    first, *others = here.controllers.candidates()
    first.failed(Unavailable("gone"), here.now)
    assert here.controllers.candidates() == [*others, first]
    here.now = 5.0
    assert here.controllers.candidates() == [first, *others]
    here.controllers.prefer(others[1])
    assert here.controllers.candidates()[0] is others[1]


async def test_pauses_grow_with_failures_and_are_never_the_same_for_all(here: Here) -> None:
    first = here.controllers.candidates()[0]
    pauses = []
    for _ in range(12):
        first.failed(Unavailable("gone"), 0.0)
        pauses.append(first.retry_at)
    assert 0.03 <= pauses[0] <= 0.1
    assert all(0.6 <= pause <= 2.0 for pause in pauses[6:])
    assert len(set(pauses)) > 6
    first.failed(Refused("revoked"), 0.0)
    assert first.retry_at > 0.9


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


async def test_what_a_controller_says_of_the_others_is_remembered(here: Here) -> None:
    d = "https://192.0.2.4:2443"
    await here.controllers.learn([B, f"{d}/", "https://127.0.0.1:2443"])
    assert identities.load(here.file) == Identity(
        name="n", controller=A, token="t", ca="", controllers=(B, d)
    )
    assert {c.url for c in here.controllers.candidates()} == {A, B, d}
    await here.controllers.learn([])
    assert {c.url for c in here.controllers.candidates()} == {A, B, d}, (
        "one that says nothing changes nothing"
    )


async def test_a_token_renewed_in_the_file_is_used_at_once(here: Here) -> None:
    before = here.controllers.candidates()
    await here.controllers.remember(token="other")
    assert not {id(c) for c in before} & {id(c) for c in here.controllers.candidates()}


def test_nodes_spread_over_controllers_and_prefer_one_on_their_own_host() -> None:
    firsts = [spread(f"node-{n}", [A, B, C])[0] for n in range(300)]
    assert all(60 < firsts.count(url) < 140 for url in (A, B, C))
    assert spread("n", [A, "https://[::1]:2443", B])[0] == "https://[::1]:2443"
    assert spread("n", [A, f"{A}/", A]) == [A]


def test_a_hello_of_this_version_says_what_it_speaks() -> None:
    assert Hello.model_validate(hello().model_dump()).protocol == 1
