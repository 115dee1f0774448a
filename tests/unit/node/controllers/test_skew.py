"""A node and a controller of neighbouring versions: what one does not know, it passes over and tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgeward.declaration import feed
from edgeward.declaration.feed import (
    PROTOCOL,
    ChangeMessage,
    EnvoyState,
    Hello,
    Identity,
    Join,
    Ping,
    Put,
    Report,
    Synced,
    dumped,
)
from tests.unit.node.controllers.test_following import Node, domain, gone, hello, put

RECORDED = Path(__file__).parent / "recorded_feed_of_protocol_1.ndjson"
"""What a controller of protocol 1 sent to a node that had nothing, with its keys replaced."""


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "copy.db")


async def take(node: Node, *lines: bytes) -> None:
    for line in lines:
        message = feed.read(line)
        if isinstance(message, Hello):
            await node.following.hello(message)
        elif isinstance(message, ChangeMessage):
            await node.following.change(message)
        elif isinstance(message, Synced):
            await node.following.completed(message)


# --- this node, an older controller -------------------------------------------------------------


async def test_the_feed_of_the_version_before_is_taken_in(node: Node) -> None:
    await take(node, *RECORDED.read_bytes().splitlines())

    assert node.state.revision == 4
    assert set(node.state.domains) == {"shop.example", "*.c.example"}
    assert list(node.state.routes) == [("default", "r")]
    assert node.state.problems == {}
    assert isinstance(feed.read(RECORDED.read_bytes().splitlines()[0]), Hello)
    assert feed.read(RECORDED.read_bytes().splitlines()[0]).protocol == 1


def test_what_the_version_before_is_told_has_no_field_that_it_would_refuse() -> None:
    report = Report(version="2", protocol=PROTOCOL, revision=1, received=1, envoy=EnvoyState(state="serving"))
    before = {
        Report: {
            "version", "revision", "received", "rejections", "envoy", "cache", "certificates", "backends",
        },
        Hello: {"type", "store", "version", "reset"},
        Ping: {"type"},
        Identity: {"name", "controller", "token", "ca"},
        Join: {"name"},
    }  # fmt: skip
    said = [
        report,
        Hello(store="s", version="2", reset=True, controllers=("https://c:1",)),
        Ping(ready=False),
        Identity(name="n", controller="https://c", token="t", ca="", controllers=("https://c:1",)),
        Join(name="n"),
    ]
    for message in said:
        assert set(dumped(message, 1)) == before[type(message)], "as recorded of that version"
        assert set(dumped(message, PROTOCOL)) == set(type(message).model_fields)


# --- this node, a newer controller --------------------------------------------------------------


def newer(message: feed.Said, **more: Any) -> bytes:
    return json.dumps({**message.model_dump(mode="json"), **more}).encode()


async def test_fields_and_messages_of_the_next_version_are_passed_over(node: Node) -> None:
    await take(
        node,
        newer(hello(reset=True), protocol=3, mood="fine"),
        b'{"type":"weather","sky":"blue"}',
        newer(ChangeMessage(revision=2, put=(domain("a.example", 2),)), colour="red"),
        newer(Synced(revision=2), took=0.1),
    )
    assert node.view() == (2, {"a.example": "default"}, {})


def test_what_is_no_message_is_an_error_still() -> None:
    for line in (b'{"type":"synced"}', b'{"type":"hello","store":1}', b"[]", b'{"kind":"x"}', b"\xff"):
        with pytest.raises(ValidationError):
            feed.read(line)


SHOP = {"backends": ["http://one.example"]}


async def with_shop(node: Node) -> None:
    await take(node, newer(hello(reset=True)))
    first = ChangeMessage(revision=1, put=(put("services", "shop", 1, **SHOP), domain("a.example", 1)))
    await take(node, newer(first), newer(Synced(revision=1)))


def unknown(revision: int) -> Put:
    return put("services", "shop", revision, backends=["http://two.example"], teleport={"to": "mars"})


def backends(node: Node) -> list[str]:
    return [b.url.removesuffix(":80") for s in node.state.services.values() for b in s.backends]


async def test_an_object_that_is_not_understood_stays_as_it_was_and_is_told(node: Node) -> None:
    await with_shop(node)
    await take(node, newer(ChangeMessage(revision=2, put=(unknown(2), domain("b.example", 2)))))

    assert backends(node) == ["http://one.example"]
    assert set(node.state.domains) == {"a.example", "b.example"}, "all else goes on"
    problem = node.state.problems["services/default/shop"]
    assert problem.revision == 2
    assert "teleport" in problem.text and "upgrade the node" in problem.text and "version" in problem.text


async def test_it_stays_so_over_a_restart_and_over_a_feed_from_the_beginning(
    node: Node, tmp_path: Path
) -> None:
    await with_shop(node)
    await take(node, newer(ChangeMessage(revision=2, put=(unknown(2),))))
    node.copy.close()
    again = Node(tmp_path / "copy.db")
    assert backends(again) == ["http://one.example"]
    assert again.state.problems["services/default/shop"].revision == 2

    await take(again, newer(hello(reset=True)))
    await take(again, newer(ChangeMessage(revision=3, put=(unknown(2),))), newer(Synced(revision=3)))
    assert backends(again) == ["http://one.example"]
    assert list(again.state.domains) == []
    again.copy.close()
    assert backends(Node(tmp_path / "copy.db")) == ["http://one.example"]


async def test_an_upgraded_node_understands_what_it_kept_without_asking(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeward.node import state
    from edgeward.node.controllers import following

    def older(kind: str, value: dict[str, Any]) -> state.Understood:
        if "two" in json.dumps(value):
            raise state.Invalid("from the future")
        return state.understand(kind, value)

    await with_shop(node)
    with monkeypatch.context() as before:
        before.setattr(following, "understand", older)
        later = put("services", "shop", 2, backends=["http://two.example"])
        await take(node, newer(ChangeMessage(revision=2, put=(later,))))
        assert backends(node) == ["http://one.example"]
    node.copy.close()

    upgraded = Node(tmp_path / "copy.db")
    assert backends(upgraded) == ["http://two.example"]
    assert upgraded.state.problems == {}


@pytest.mark.parametrize(
    "after",
    [ChangeMessage(revision=3, put=(put("services", "shop", 3, backends=["http://three.example"]),)),
     ChangeMessage(revision=3, remove=(gone("services", "shop"),))],
)  # fmt: skip
async def test_what_was_not_understood_is_forgotten_with_the_next_change(
    node: Node, tmp_path: Path, after: ChangeMessage
) -> None:
    await with_shop(node)
    await take(node, newer(ChangeMessage(revision=2, put=(unknown(2),))), newer(after))
    for now in (node, Node(tmp_path / "copy.db")):
        assert now.state.problems == {}
        assert backends(now) == [b for p in after.put for b in p.value["backends"]]


async def test_a_kind_of_the_next_version_is_told_and_kept_out(node: Node) -> None:
    await with_shop(node)
    later = put("portals", "p", 2, to="mars")
    await take(node, newer(ChangeMessage(revision=2, put=(later, domain("b.example", 2)))))
    assert "portals" in node.state.problems["portals/default/p"].text
    assert "b.example" in node.state.domains

    await take(node, newer(ChangeMessage(revision=3, remove=(gone("portals", "p"),))))
    assert node.state.problems == {}


async def test_a_domain_that_says_more_than_this_version_knows_is_not_begun_to_be_served(node: Node) -> None:
    await with_shop(node)
    later = put("domains", "b.example", 2, shield="up")
    await take(node, newer(ChangeMessage(revision=2, put=(later,))))
    assert set(node.state.domains) == {"a.example"}
    assert "shield" in node.state.problems["domains/default/b.example"].text


async def test_a_name_that_is_served_elsewhere_is_not_covered_by_its_wildcard(node: Node) -> None:
    await take(node, newer(hello(reset=True)))
    hint = put("domains", "x.c.example", 1, elsewhere=True)
    await take(node, newer(ChangeMessage(revision=1, put=(domain("*.c.example", 1), hint))))
    await take(node, newer(Synced(revision=1)))
    assert node.state.covered("y.c.example") and not node.state.covered("x.c.example")

    await take(node, newer(ChangeMessage(revision=2, remove=(gone("domains", "x.c.example"),))))
    assert node.state.covered("x.c.example")
