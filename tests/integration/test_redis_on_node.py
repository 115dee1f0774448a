"""A node with a tier in Redis: visitors are served from it, or without it, and never wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeward.redis_tier.entries import Entry, Head, Names, sealed
from tests.integration.node_rig import Rig, rig, within
from tests.redis_server import RedisServer

KEY = b"t" * 32
AHEAD = 1_000


class Filler:
    """Stands in for the controller that fills Redis; the feed never tells what it writes."""

    def __init__(self, server: RedisServer, store: str) -> None:
        self.server = server
        self.names = Names(store)
        self.revision = AHEAD
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)

    def put(self, name: str, value: dict[str, str] | None) -> None:
        place = self.names.entry("epoch", name)
        self.revision += 1
        if value is None:
            self.server.command("DEL", place)
        else:
            self.server.command("SET", place, sealed(Entry("default", self.revision, value), KEY, place))
        self.head()

    def head(self) -> None:
        head = Head("epoch", self.revision, time.time(), 1)
        self.server.command("SET", self.names.head, sealed(head, KEY, self.names.head))

    def start(self) -> None:
        self._beating.start()

    def end(self) -> None:
        self._ended.set()
        self._beating.join()

    def _beat(self) -> None:
        while not self._ended.wait(0.15):
            try:
                self.head()
            except OSError:
                continue


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, Filler]]:
    import shutil
    import tempfile

    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed; see apt-packages.txt")
    server = RedisServer(program, tmp_path_factory.mktemp("redis")).start()
    state = Path(tempfile.mkdtemp(prefix="ew-", dir="/tmp"))
    with rig(state) as made:
        filler = Filler(server, made.controller.store)
        made.controller.tier_keys = [KEY]
        made.controller.declare("*.cut.example", https=[f"127.0.0.1:{made.port}"])
        made.controller.start()
        made.write_identity()
        made.start_node(EDGEWARD_REDIS=server.url)
        made.start_envoy()
        made.wait_ready()
        filler.start()
        try:
            yield made, filler
        finally:
            filler.end()
            server.kill()
    shutil.rmtree(state, ignore_errors=True)


def test_a_name_that_redis_has_is_served_without_the_controller(edge: tuple[Rig, Filler]) -> None:
    node, filler = edge
    names = (f"a{n}.cut.example" for n in range(1000))

    def served() -> bool:
        """A name of its own each time: what the controller was asked for once is known from then on."""
        name = next(names)
        issued = node.controller.authority.issue(name)
        filler.put(name, issued)
        found = node.visit(name) == issued["fingerprint"]
        assert found == (name not in node.controller.obtained)
        return found

    within(10, served, "the node to have the keys")
    assert node.metric("edgeward_node_names_answered_total")['{outcome="served",tier="redis"}'] == 1
    assert node.metric("edgeward_node_tier_hits_total")['{tier="redis"}'] == 1
    filler.put("b.cut.example", node.controller.authority.issue("b.cut.example"))
    node.controller.ask("which", "b.cut.example")
    within(5, lambda: any(a["id"] == "which" for a in node.controller.answers), "the answer")
    assert next(a for a in node.controller.answers if a["id"] == "which")["tier"] == "redis"


def test_what_redis_spoils_the_controller_gives(edge: tuple[Rig, Filler]) -> None:
    node, filler = edge
    filler.put("c.cut.example", node.controller.authority.issue("c.cut.example"))
    other = filler.server.value(filler.names.entry("epoch", "c.cut.example"))
    names = (f"d{n}.cut.example" for n in range(1000))

    def ignored() -> bool:
        name = next(names)
        filler.server.command("SET", filler.names.entry("epoch", name), other)
        assert node.served(name)
        assert node.controller.obtained[-1] == name
        return node.metric("edgeward_node_redis_ignored_total").get('{reason="not ours"}', 0) > 0

    within(10, ignored, "the entry to be counted")


def test_redis_that_hangs_only_costs_a_moment(edge: tuple[Rig, Filler]) -> None:
    node, filler = edge
    filler.server.pause()
    try:
        assert all(node.served(f"h{n}.cut.example") for n in range(5))
        assert node.metric("edgeward_node_redis_failures_total")[""] >= 1
        assert node.served("h0.cut.example")
    finally:
        filler.server.resume()
    within(12, lambda: node.metric("edgeward_node_redis_open")[""] == 1.0, "Redis to be asked again")


def test_a_node_that_is_cut_off_serves_from_redis_and_hears_there_of_changes(
    edge: tuple[Rig, Filler],
) -> None:
    node, filler = edge
    within(10, lambda: node.metric("edgeward_node_redis_open")[""] == 1.0, "Redis to be asked")
    node.controller.stop()
    within(10, lambda: node.metric("edgeward_node_controller_connected")[""] == 0.0, "the node to be alone")
    issued = node.controller.authority.issue("e.cut.example")
    filler.put("e.cut.example", issued)
    within(5, lambda: node.visit("e.cut.example") == issued["fingerprint"], "Redis to be believed")

    renewed = node.controller.authority.issue("e.cut.example")
    filler.put("e.cut.example", renewed)
    within(3, lambda: node.visit("e.cut.example") == renewed["fingerprint"], "the new certificate")
    filler.put("e.cut.example", None)
    within(3, lambda: node.visit("e.cut.example") is None, "what is revoked to be gone")
