"""The node's sealed copy, killed while it is written and spoiled while it lies there."""

from __future__ import annotations

import random
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgeward.declaration.feed import ChangeMessage, Hello, Put, Synced
from edgeward.errors import EdgewardError
from edgeward.node.controllers.following import Following
from edgeward.node.sealed_copy.last_good import LastGood
from edgeward.node.state import State
from edgeward.sealing import Seal
from tests.faults.injection import killed_at
from tests.integration.node_rig import Rig, rig, within
from tests.integration.processes import running, until

NAMES = tuple(f"n{i}.example" for i in range(12))
BEFORE, AFTER = "before.example", "after.example"
_HALF_DONE = """
import runpy, sys
from edgeward.node.sealed_copy.copying import Copying
begin = Copying.begin
def without_transaction(self, *, anew=False):
    begin(self, anew=anew)
    self._connection.commit()
Copying.begin = without_transaction
sys.argv[0] = "edgeward.node"
runpy.run_module("edgeward.node", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def edge(state_dir: Path) -> Iterator[Rig]:
    with rig(state_dir) as made:
        yield made


# --- killed while a transaction of the feed is written --------------------------------------


def first_state(edge: Rig) -> dict[str, str]:
    """Serve a first state, end the node, and give name → fingerprint."""
    edge.controller.declare(*NAMES, BEFORE)
    issued = edge.controller.certify(*NAMES, BEFORE)
    edge.start()
    assert edge.node is not None
    edge.node.send(signal.SIGTERM)
    assert edge.node.wait() == 0
    return {name: value["fingerprint"] for name, value in issued.items()}


def second_state(edge: Rig) -> dict[str, str]:
    """Replace every certificate, and one domain by another, in one transaction."""
    issued = {name: edge.controller.authority.issue(name) for name in (*NAMES, AFTER)}
    put: dict[tuple[str, str], dict[str, object]] = {("certificates", n): c for n, c in issued.items()}
    put["domains", AFTER] = {"name": AFTER}
    edge.controller.change(put, remove=[("domains", BEFORE)])
    return {name: value["fingerprint"] for name, value in issued.items()}


def dies_while_writing(edge: Rig, strace: str, nth: int, program: tuple[str, ...]) -> bool:
    """Take the second state, killed at the Nth write of the copy; False where it needs fewer."""
    trace = edge.state_dir / "strace"
    argv = [*killed_at(strace, "pwrite64,fdatasync", nth, trace), sys.executable, *program]
    with running([*argv, "--state-dir", edge.state_dir]) as node:
        reports = len(edge.controller.reports)
        until(lambda: not node.alive() or edge.controller.reports[reports:], 20, "its end or a report")

        def taken() -> bool:
            return bool(edge.controller.reports[-1]["received"] == edge.controller.revision)

        until(lambda: not node.alive() or taken(), 10, "its end or the second state")
        return node.returncode == -signal.SIGKILL


def served(edge: Rig) -> dict[str, str]:
    """Start the node with the controller dead, and give what visitors get."""
    edge.controller.stop()
    edge.start_node()
    edge.start_envoy()
    edge.wait_ready()
    visits = {name: edge.visit(name) for name in (*NAMES, BEFORE, AFTER)}
    assert edge.node is not None and edge.envoy is not None
    for process in (edge.node, edge.envoy):
        process.end()
    return {name: found for name, found in visits.items() if found is not None}


def killed_in_second_state(edge: Rig, strace: str, nth: int, program: tuple[str, ...]) -> str:
    """Say what is served after the death: the old state, the new one, or halves of both."""
    old = first_state(edge)
    assert edge.envoy is not None
    edge.envoy.end()
    new = second_state(edge)
    if not dies_while_writing(edge, strace, nth, program):
        return "alive"
    found = served(edge)
    edge.controller.start()
    edge.start_node()
    edge.start_envoy()
    edge.wait_ready()
    within(5, lambda: edge.visit(AFTER) == new[AFTER], "the new state from the controller")
    return {True: "old", False: "halves"}[found == old] if found != new else "new"


def test_killed_in_a_feed_transaction_it_serves_the_old_state_or_the_new_one(edge, needs):
    strace = needs("strace")
    assert killed_in_second_state(edge, strace, 6, ("-m", "edgeward.node")) in ("old", "new")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_each_write_of_a_feed_transaction_it_serves_the_old_state_or_the_new_one(state_dir, needs):
    seen = []
    for nth in (1, 2, 3, 4, 8, 16, 24, 32, 40, 48, 64, 96):
        directory = state_dir / str(nth)
        directory.mkdir(mode=0o700)
        with rig(directory) as edge:
            seen.append(killed_in_second_state(edge, needs("strace"), nth, ("-m", "edgeward.node")))
    assert set(seen) <= {"old", "new", "alive"}, seen
    assert seen.count("old") >= 3, seen


@pytest.mark.slow
def test_control_without_the_transaction_halves_are_served(edge, needs):
    assert killed_in_second_state(edge, needs("strace"), 28, ("-c", _HALF_DONE)) == "halves"


# --- spoiled on disk, in the program --------------------------------------------------------


async def test_whatever_bytes_change_the_copy_gives_what_was_put_or_nothing_and_heals(tmp_path):
    whole = await _whole_copy(tmp_path / "whole.db")
    chance = random.Random(7)
    damaged = healed_by_question = 0
    for _ in range(300):
        path = tmp_path / "copy.db"
        for suffix in ("", "-wal", "-shm", ".unusable"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes(_spoiled(bytearray(whole), chance))
        found, missing = await _read_and_heal(path)
        damaged += found
        healed_by_question += missing
    assert damaged > 150, "the damage is there"
    assert healed_by_question < 20, "a row that nothing points to is asked of the controller, name by name"


async def _read_and_heal(path: Path) -> tuple[bool, bool]:
    """Read a spoiled copy, then follow a controller as the node does; whether damage showed, and rows lack."""
    copy = LastGood(path, Seal(b"k" * 32))
    try:
        state = State()
        following = Following(copy, state, lambda _: None)
        following.load()
        _assert_right(copy)
        lost = copy.since() == (0, "")
        for attempt in range(4):
            try:
                await _feed(following, reset=following.since != (7, "S"))
                break
            except EdgewardError:
                assert attempt < 3, "it is not asked for everything for ever"
        assert set(state.domains) == set(NAMES)
        assert copy.since() == (7, "S")
        return lost, _assert_right(copy) < len(NAMES)
    finally:
        copy.close()


def _assert_right(copy: LastGood) -> int:
    found = [(name, kept) for name in NAMES if (kept := copy.find((name,), time.time())) is not None]
    assert all(kept.name == name and kept.fingerprint == f"f-{name}" for name, kept in found)
    assert all(f"key of {name}".encode() in kept.tls for name, kept in found)
    return len(found)


async def _feed(following: Following, *, reset: bool) -> None:
    await following.hello(Hello(store="S", version="x", reset=reset))
    if reset:
        await following.change(_everything())
    await following.completed(Synced(revision=7))


def _everything() -> ChangeMessage:
    until_ = "2100-01-01T00:00:00+00:00"
    puts = [_put("domains", name, {"name": name}) for name in NAMES]
    for name in NAMES:
        value = {
            "chain": name * 300,
            "key": f"key of {name}",
            "not_after": until_,
            "fingerprint": f"f-{name}",
        }
        puts.append(_put("certificates", name, value))
    return ChangeMessage(revision=7, put=tuple(puts))


def _put(kind: str, name: str, value: dict[str, str]) -> Put:
    return Put(kind=kind, project="default", name=name, revision=7, value=value)


async def _whole_copy(path: Path) -> bytes:
    copy = LastGood(path, Seal(b"k" * 32))
    following = Following(copy, State(), lambda _: None)
    following.load()
    await _feed(following, reset=True)
    copy.close()
    return path.read_bytes()


def _spoiled(content: bytearray, chance: random.Random) -> bytes:
    how = chance.choice(("bits", "bits", "page", "zeros", "cut"))
    page = chance.randrange(len(content) // 4096) * 4096
    if how == "bits":
        for _ in range(chance.choice((1, 3, 30))):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    elif how == "page":
        content[page : page + 4096] = chance.randbytes(4096)
    elif how == "zeros":
        content[page : page + 4096] = bytes(4096)
    else:
        del content[chance.randrange(len(content)) :]
    return bytes(content)


# --- spoiled on disk, as a process before a real Envoy --------------------------------------


def spoil(path: Path, how: str, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut":
        del content[len(content) // 2 :]
    else:
        for page in range(4096 * 2, len(content), 4096):
            content[page + chance.randrange(4096)] ^= 0xFF
            content[page : page + 8] = chance.randbytes(8)
    path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pages", "cut"])
def test_a_spoiled_copy_is_told_in_one_line_and_taken_anew(edge: Rig, how: str) -> None:
    issued = first_state(edge)
    edge.controller.stop()
    spoil(edge.node_dir / "last-good.db", how, random.Random(5))
    edge.start_node()
    within(10, lambda: (edge.node_dir / "node.sock").exists(), "a start")
    for name in NAMES:
        assert edge.visit(name) in (issued[name], None), "never another's certificate"

    edge.controller.start()
    within(8, edge.ready, "everything anew")
    for name in NAMES:
        within(3, lambda name=name: edge.visit(name) == issued[name], name)
    watches = len(edge.controller.watches)
    time.sleep(1.5)
    assert len(edge.controller.watches) == watches, "it is not taken again and again"
    told = [line for line in edge.log() if line["level"] == "error"]
    assert len(told) == 1, told
    assert "sealed copy" in told[0]["event"]


@pytest.mark.slow
def test_a_record_under_another_name_does_not_open(edge: Rig) -> None:
    issued = first_state(edge)
    with closing(sqlite3.connect(edge.node_dir / "last-good.db", isolation_level=None)) as copy:
        swap = "UPDATE certificates SET (project, revision, not_after, fingerprint, digest, record) = ("
        swap += " SELECT project, revision, not_after, fingerprint, digest, record FROM certificates WHERE name = ?"
        assert copy.execute(f"{swap}) WHERE name = ?", (NAMES[0], NAMES[1])).rowcount == 1
    edge.controller.stop()
    edge.start_node()
    edge.wait_ready()

    assert edge.visit(NAMES[0]) == issued[NAMES[0]]
    assert edge.visit(NAMES[1]) is None
    told = [line for line in edge.log() if line["level"] == "error"]
    assert [NAMES[1] in line["problem"] for line in told] == [True]
    edge.controller.start()
    within(12, lambda: edge.visit(NAMES[1]) == issued[NAMES[1]], "the right one from the controller")
