"""What the node and its Envoy do when something dies: the controller, the node, Envoy, the disk's content."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fake_controller import JOIN, Authority
from tests.integration.node_rig import Rig, rig, within
from tests.integration.processes import is_alive
from tests.patience import PATIENCE

ACTIVE = r"listener\.https\.on_demand_secret\.cert_active"
UPDATES = (
    r"cluster_manager\.cds\.update_success",
    r"listener_manager\.lds\.update_success",
    r"http\.https\.rds\.https\.update_success",
    r"listener\.https\.on_demand_secret\.cert_updated",
)


@pytest.fixture
def edge(state_dir: Path) -> Iterator[Rig]:
    with rig(state_dir) as made:
        yield made


class Visits:
    """Visits a name 50 times a second in the background; ``failed`` counts those that were refused."""

    def __init__(self, edge: Rig, name: str) -> None:
        self._edge, self._name = edge, name
        self._stop = threading.Event()
        self.made = self.failed = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Visits:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.made += 1
            try:
                self.failed += self._edge.visit(self._name, 2) is None
            except OSError:
                self.failed += 1


def test_known_names_are_served_with_the_controller_dead_and_new_ones_fail_fast(edge: Rig) -> None:
    edge.controller.declare("*.many.example")
    edge.controller.certify("a.many.example", "b.many.example")
    edge.start()
    assert edge.served("a.many.example")

    edge.controller.stop()

    assert edge.served("a.many.example")
    assert edge.served("b.many.example"), "stored, never visited before"
    began = time.monotonic()
    for n in range(5):
        assert not edge.served(f"new{n}.many.example")
    assert time.monotonic() - began < 10 * PATIENCE, "they do not wait for what does not come"
    lines = [line for line in edge.log() if line["event"] == "new names cannot be served"]
    assert len(lines) == 1, "one line says it for all"

    edge.controller.start()
    within(5, lambda: edge.served("new1.many.example"), "new names again")


def test_a_killed_node_is_not_noticed_by_visitors_nor_by_envoy(edge: Rig) -> None:
    edge.controller.declare("*.many.example")
    edge.controller.certify(*(f"n{n}.many.example" for n in range(20)))
    edge.controller.change(
        {
            ("services", "shop"): {"name": "shop", "backends": ["http://192.0.2.1:80", "http://localhost:9"]},
            ("routes", "all"): {"name": "all", "hosts": ["*.many.example"], "service": "shop"},
        }
    )
    edge.start()
    within(8, lambda: edge.controller.reports and edge.controller.reports[-1]["backends"], "DNS to be heard")
    for n in range(10):
        assert edge.served(f"n{n}.many.example")
    pid, before = edge.envoy_pid(), [edge.stat(name) for name in UPDATES]

    with Visits(edge, "n1.many.example") as visits:
        edge.kill_node()
        edge.controller.stop()
        time.sleep(0.3)
        edge.start_node()
        within(5, lambda: edge.ready() and edge.served("n15.many.example"), "the node to be back")
        time.sleep(0.3)

    assert visits.made > 20
    assert visits.failed == 0
    assert edge.envoy_pid() == pid
    assert [edge.stat(name) for name in UPDATES][:3] == before[:3], "nothing was sent again"
    assert edge.stat(UPDATES[3]) == before[3] + 1, "only the new name"
    assert edge.metric("edgeward_node_tier_size")['{tier="resident"}'] == 11


def test_what_changed_while_the_node_was_dead_is_put_right_when_it_is_back(edge: Rig) -> None:
    edge.controller.declare("gone.example", "new.example", "same.example")
    edge.controller.certify("gone.example", "new.example", "same.example")
    edge.start()
    for name in ("gone", "new", "same"):
        assert edge.served(f"{name}.example")

    edge.kill_node()
    edge.controller.change(remove=[("domains", "gone.example")])
    fresh = edge.controller.certify("new.example")["new.example"]["fingerprint"]
    edge.start_node()

    within(5, lambda: not edge.served("gone.example"), "the deleted name to be refused")
    within(1, lambda: edge.visit("new.example") == fresh, "the replaced certificate")
    assert edge.served("same.example")
    assert edge.controller.watches[-1] > 0, "it went on from where it was"


def test_node_and_envoy_both_start_without_a_controller_from_the_sealed_copy(edge: Rig) -> None:
    edge.controller.declare("shop.example")
    issued = edge.controller.certify("shop.example")["shop.example"]["fingerprint"]
    edge.start()
    assert edge.node is not None
    assert edge.envoy is not None
    edge.node.send(signal.SIGTERM)
    assert edge.node.wait() == 0
    edge.envoy.end()
    edge.controller.stop()

    edge.start_node()
    edge.start_envoy()
    edge.wait_ready()

    assert edge.visit("shop.example") == issued


def test_a_killed_envoy_serves_again_within_two_seconds(edge: Rig) -> None:
    edge.controller.declare("shop.example")
    edge.controller.certify("shop.example")
    edge.start()
    assert edge.served("shop.example")
    killed = edge.envoy_pid()
    os.kill(killed, signal.SIGKILL)

    def served() -> bool:
        try:
            return edge.visit("shop.example", 1) is not None
        except OSError:
            return False

    within(2, lambda: not is_alive(killed), "its end")
    within(4, served, "service")  # two seconds on a machine that does nothing else
    within(2, lambda: edge.metric("edgeward_node_tier_size")['{tier="resident"}'] == 1, "one resident")


def test_no_private_key_stands_in_the_clear_on_disk(edge: Rig) -> None:
    edge.controller.declare("shop.example")
    key = edge.controller.certify("shop.example")["shop.example"]["key"]
    edge.start()
    assert edge.served("shop.example")
    lines = [line.encode() for line in key.splitlines() if "-" not in line]

    for path in edge.node_dir.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(line in content for line in lines), path
            assert b"PRIVATE KEY" not in content, path
    assert edge.node_dir.stat().st_mode & 0o077 == 0
    for socket in ("xds.sock", "node.sock", "last-good.db", "identity.json"):
        assert (edge.node_dir / socket).stat().st_mode & 0o077 == 0, socket


@pytest.mark.parametrize("damage", ["garbage", "flipped", "another key"])
def test_a_damaged_copy_is_put_aside_or_healed_and_envoy_keeps_what_it_has(edge: Rig, damage: str) -> None:
    edge.controller.declare("shop.example", "other.example")
    edge.controller.certify("shop.example", "other.example")
    edge.start()
    assert edge.served("shop.example")
    edge.kill_node()
    copy = edge.node_dir / "last-good.db"
    if damage == "garbage":
        copy.write_bytes(b"not a database" * 1000)
        for beside in ("-wal", "-shm"):  # SQLite would heal the file from them
            copy.with_name(copy.name + beside).unlink(missing_ok=True)
    elif damage == "another key":
        (edge.state_dir / "seal.key").write_bytes(b"k" * 32)
    else:
        import sqlite3

        with sqlite3.connect(copy) as database:
            database.execute("UPDATE objects SET record = x'0102' WHERE kind = 'domains'")
            database.execute("UPDATE certificates SET record = x'0102'")

    with Visits(edge, "shop.example") as visits:
        edge.controller.stop()
        edge.start_node()
        within(5, lambda: edge.page("/healthz").status_code == 200 if sock(edge) else False, "a start")
        time.sleep(0.5)
        if damage != "flipped":
            assert visits.failed == 0, "what cannot be judged is left alone"
        edge.controller.start()
        within(8, lambda: edge.ready() and edge.served("other.example"), "everything anew")
    assert edge.controller.watches[-1] == 0
    assert edge.served("shop.example")
    assert any(line["level"] == "error" for line in edge.log())


def sock(edge: Rig) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(edge.node_dir / "node.sock")) == 0


def test_another_store_behind_the_same_controller_is_taken_in_whole(edge: Rig) -> None:
    edge.controller.declare("old.example", "both.example")
    edge.controller.certify("old.example", "both.example")
    edge.start()
    assert edge.served("both.example")
    edge.controller.stop()

    edge.controller.store = "5a1f2c9e-0000-4000-8000-000000000000"
    edge.controller.revision = 1
    edge.controller.log.clear()
    del edge.controller.objects["domains", "default", "old.example"]
    edge.controller.big_transactions = 1
    with Visits(edge, "both.example") as visits:
        edge.controller.start()
        within(5, lambda: not edge.served("old.example"), "the new state")
    assert visits.failed == 0


def test_a_node_joins_by_token_and_pin_and_needs_neither_again(edge: Rig) -> None:
    edge.controller.declare("shop.example", https=[f"127.0.0.1:{edge.port}"])
    edge.controller.certify("shop.example")
    edge.controller.start()
    how = ["--controller", edge.controller.url, "--name", "edge-9", "--ca-sha256"]

    wrong = edge.start_node(*how, hashlib.sha256(b"other").hexdigest(), "--join", JOIN)
    assert wrong.wait() == 2
    assert "not the one pinned" in wrong.output()
    stranger = edge.start_node(*how, edge.controller.authority.sha256, "--join", "ew_wrong_token")
    assert stranger.wait() == 2
    assert "refuses the join token" in stranger.output()

    first = edge.start_node(*how, edge.controller.authority.sha256, "--join", JOIN)
    edge.start_envoy()
    edge.wait_ready()
    assert edge.served("shop.example")
    first.send(signal.SIGTERM)
    assert first.wait() == 0

    edge.start_node()
    within(10, edge.ready, "a start without token")


def test_two_nodes_do_not_share_a_directory(edge: Rig) -> None:
    edge.controller.start()
    edge.write_identity()
    edge.start_node()
    within(10, lambda: sock(edge), "a start")

    second = edge.start_node()

    assert second.wait() == 2
    assert "another node runs" in second.output()


def test_what_envoy_refuses_reaches_the_controller_as_a_sentence_about_the_object(edge: Rig) -> None:
    edge.controller.declare("shop.example")
    edge.start()

    revision = edge.controller.declare(https=[f"127.0.0.1:{edge.port}", "192.0.2.1:8443"])

    def told() -> bool:
        last = edge.controller.reports[-1]
        return bool(last["revision"] == revision and last["rejections"])

    within(5, told, "the rejection")
    rejection = edge.controller.reports[-1]["rejections"][0]
    assert rejection["object"] == "listen/default/listen"
    assert "192.0.2.1:8443" in rejection["message"]

    revision = edge.controller.declare(https=[f"127.0.0.1:{edge.port}"])
    within(5, lambda: edge.controller.reports[-1]["rejections"] == [], "its end")
    assert edge.controller.reports[-1]["revision"] == revision


def test_a_new_root_is_known_long_before_it_signs(edge: Rig) -> None:
    edge.controller.declare("a.example")
    edge.controller.more_roots = Authority().pem
    edge.start()
    identity = edge.state_dir / "node" / "identity.json"

    within(5, lambda: identity.read_text().count("BEGIN CERTIFICATE") == 2, "the new root is kept")
    assert identity.stat().st_mode & 0o777 == 0o600
    edge.controller.stop()
    edge.controller.start()
    edge.controller.declare("b.example")
    edge.controller.certify("b.example")
    within(10, lambda: edge.served("b.example"), "the feed goes on")
