"""A real node and several controllers: it turns to another one, and reads nothing twice."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.fake_controller import JOIN, FakeController
from tests.integration.processes import running, until


class Rig:
    """A node without Envoy, and two controllers on what is as good as one database."""

    def __init__(self, directory: Path) -> None:
        self.state_dir = directory / "state"
        self.one = FakeController(directory / "one")
        self.two = FakeController(directory / "two", twin_of=self.one)
        for controller in self.both:
            controller.controllers = [c.url for c in self.both]
            controller.start()
        self.change("a.example")

    @property
    def both(self) -> tuple[FakeController, FakeController]:
        return self.one, self.two

    def change(self, *domains: str) -> int:
        return max([c.declare(*domains) for c in self.both])

    def write_identity(self, **fields: Any) -> None:
        path = self.state_dir / "node" / "identity.json"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(json.dumps({**self.one.identity("edge-1"), **fields}))
        path.chmod(0o600)

    def identity(self) -> dict[str, Any]:
        return dict(json.loads((self.state_dir / "node" / "identity.json").read_text()))

    @contextmanager
    def node(self, *arguments: str, **env: str) -> Iterator[None]:
        argv = [sys.executable, "-m", "edgeward.node", "--state-dir", str(self.state_dir), *arguments]
        with running(argv, env=env):
            yield

    def metric(self, name: str) -> float:
        transport = httpx.HTTPTransport(uds=str(self.state_dir / "node" / "node.sock"))
        try:
            with httpx.Client(transport=transport) as client:
                text = client.get("http://node/metrics", timeout=30).text
        except httpx.HTTPError:
            return -1.0
        found = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(found[0].rpartition(" ")[2]) if found else -1.0

    def has(self, revision: int) -> bool:
        return self.metric("edgeward_node_revision_received") == revision

    def connected(self) -> bool:
        return self.metric("edgeward_node_controller_connected") == 1

    def followed(self) -> FakeController:
        """The one that has more watches than were ended, which is the last to be asked."""
        return max(self.both, key=lambda c: len(c._wake))

    def other(self) -> FakeController:
        return next(c for c in self.both if c is not self.followed())


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    for controller in made.both:
        controller.hangs = False
        controller.stop()


def test_a_node_learns_of_the_other_controllers_and_follows_another_when_its_own_dies(rig: Rig) -> None:
    rig.write_identity()
    with rig.node():
        until(lambda: rig.has(1), what="the first revision")
        until(lambda: len(rig.identity().get("controllers", [])) == 2, what="the other controller's name")
        first, second = rig.followed(), rig.other()
        assert (len(first.watches), first.sent) == (1, 1)

        first.stop()
        revision = rig.change("b.example")
        until(lambda: rig.has(revision), what="the change, of the other controller")
        assert second.watches == [1], "it goes on from where it was"
        assert second.sent == 1, "and takes what it missed only"
        assert rig.metric("edgeward_node_feed_resets_total") == 1
        assert rig.metric("edgeward_node_feed_objects_total") == 2

    with rig.node():  # the one it joined is still dead, the other one is remembered
        until(rig.connected, what="the other controller")
    assert second.watches == [1, revision]
    assert second.sent == 1


@pytest.mark.slow
def test_a_controller_that_hangs_is_left_within_seconds(rig: Rig) -> None:
    rig.write_identity(controllers=[c.url for c in rig.both])
    with rig.node():
        until(lambda: rig.has(1), what="the first revision")
        second = rig.other()
        rig.followed().hangs = True
        revision = second.declare("b.example")
        until(lambda: rig.has(revision), timeout=15, what="the change, of the other controller")


def test_a_controller_that_is_not_ready_is_left_for_one_that_is(rig: Rig) -> None:
    rig.write_identity(controllers=[c.url for c in rig.both])
    with rig.node():
        until(lambda: rig.has(1), what="the first revision")
        first, second = rig.followed(), rig.other()
        for controller in rig.both:
            controller.is_ready = False
        revision = first.declare("b.example")
        until(lambda: rig.has(revision), what="a change of the one it stays with, as none is ready")
        assert second.watches == []

        second.change()
        second.revision = revision
        second.is_ready = True
        until(lambda: second.watches == [revision], timeout=15, what="the one that is ready")
        assert first.watches == [0]


def test_a_node_joins_at_whichever_controller_answers(rig: Rig) -> None:
    rig.one.stop()
    controllers = ["--controller", rig.one.url, "--controller", rig.two.url]
    with rig.node(*controllers, "--ca-sha256", rig.one.authority.sha256, "--name", "e", EDGEWARD_JOIN=JOIN):
        until(lambda: rig.has(1), what="the first revision")
    assert rig.identity()["name"] == "e"


def test_a_change_of_the_command_line_is_heard_by_a_node_that_joined_before(rig: Rig) -> None:
    rig.two.controllers = []
    rig.write_identity()
    rig.one.stop()
    with rig.node("--controller", rig.two.url):
        until(lambda: rig.has(1), what="the first revision")
