"""The controller's disk is full or fails: who asks hears 503 and why, nothing is lost, and it passes by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.injection import delayed, failing, injected
from tests.faults.ledger import DECLARED, Follower, Ledger
from tests.faults.test_controller_killed import NODE, check_all, identity
from tests.integration.controller_setup import Controller
from tests.integration.processes import until


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A file system of its own, of so many bytes."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    path.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", path], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=False)


def fill(directory: Path, leave: int = 0) -> Path:
    """Take all space of a file system but so many bytes; remove the file to give it back."""
    ballast = directory / "ballast"
    size = shutil.disk_usage(directory).free - leave
    with ballast.open("wb", buffering=0) as file:
        try:
            for _ in range(0, size, 4096):
                file.write(b"x" * 4096)
        except OSError:
            pass  # full
    return ballast


def check_refusals(ledger: Ledger) -> None:
    """Every change that was not made was answered 503, with a sentence that names the reason."""
    assert ledger.refused
    for answer in ledger.refused:
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert "retry-after" in answer.headers
        problem = answer.json()
        assert "database or disk is full" in problem["detail"] or "disk I/O error" in problem["detail"]


def load(here: Controller, ledger: Ledger, node: Follower, until_true) -> None:
    """Apply and obtain until something holds."""
    stop = threading.Event()
    obtaining = threading.Thread(target=ledger.obtain, args=(here, node.identity.token, stop))
    obtaining.start()
    deadline = time.monotonic() + 60
    while not until_true() and time.monotonic() < deadline:
        ledger.apply(here, rounds=1)
    stop.set()
    obtaining.join(30)
    assert until_true()


def test_on_a_full_disk_changes_are_answered_503_and_go_on_when_there_is_space_again(state_dir):
    with small_disk(state_dir / "disk", "8m") as disk:
        here = Controller(disk / "state")
        here.state_dir.mkdir(mode=0o700)
        here.declare(DECLARED)
        ledger = Ledger()
        with here.start(*NODE) as process, here.client() as client:
            node = Follower(identity(here))
            load(here, ledger, node, lambda: ledger.acknowledged >= 5)
            assert ledger.refused == []
            following = threading.Thread(target=node.follow, args=(here,))
            following.start()

            ballast = fill(disk)
            load(here, ledger, node, lambda: len(ledger.refused) >= 10)
            check_refusals(ledger)
            stored = client.get("/v1/domains?limit=1").raise_for_status()
            assert stored.json()["items"], "reading goes on"
            assert client.get("/v1/status").status_code == 200

            ballast.unlink()
            before = ledger.acknowledged, len(ledger.refused)
            load(here, ledger, node, lambda: ledger.acknowledged >= before[0] + 5)
            assert len(ledger.refused) == before[1], "at once"
            assert process.alive()
            until(lambda: node.revision >= ledger.revision, 5, "the feed to go on")
        following.join(30)
        check_all(here, ledger, node)


@pytest.mark.slow
def test_on_a_full_disk_a_start_says_so_in_a_sentence_and_does_not_spoil_what_is_there(state_dir):
    with small_disk(state_dir / "disk", "8m") as disk:
        here = Controller(disk / "state")
        here.state_dir.mkdir(mode=0o700)
        here.declare(DECLARED)
        with here.start(*NODE):
            pass
        ballast = fill(disk)
        with here.start(*NODE, ready=False) as process:
            assert process.wait(30) == 1, process.output()
            said = process.output().splitlines()
        assert len(said) == 1, said
        assert "; see that its disk has space" in said[0]
        ballast.unlink()
        with here.start(*NODE), here.client(token=identity(here).token) as node:
            assert node.post("/v1/certificates/x.c.example/obtain").status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("calls", "error", "when"),
    [
        ("fdatasync", "EIO", "5..60+3"),
        ("pwrite64", "ENOSPC", "40..80"),
        ("pwrite64", "EIO", "40..200+5"),
    ],
)
def test_a_failing_disk_is_answered_503_and_loses_nothing(state_dir, needs, calls, error, when):
    here = Controller(state_dir / "state")
    here.state_dir.mkdir(mode=0o700)
    here.declare(DECLARED)
    with here.start(*NODE):
        pass
    ledger, trace = Ledger(), state_dir / "strace"
    node = Follower(identity(here))
    with here.start(*NODE, wrapper=failing(needs("strace"), calls, error, when, trace)) as process:
        load(here, ledger, node, lambda: len(ledger.refused) >= 1)
        refused = len(ledger.refused)
        load(here, ledger, node, lambda: ledger.acknowledged >= ledger.attempted - 1 > refused + 20)
        assert process.alive()
    assert injected(trace) >= 1
    check_refusals(ledger)
    check_all(here, ledger, node)


@pytest.mark.slow
def test_a_slow_disk_slows_changes_and_fails_none(state_dir, needs):
    here = Controller(state_dir / "state")
    here.state_dir.mkdir(mode=0o700)
    here.declare(DECLARED)
    with here.start(*NODE):
        pass
    ledger, trace = Ledger(), state_dir / "strace"
    node = Follower(identity(here))
    with (
        here.start(*NODE, wrapper=delayed(needs("strace"), "fdatasync", 0.3, trace)),
        here.client() as client,
    ):
        began = time.monotonic()
        load(here, ledger, node, lambda: ledger.acknowledged >= 5)
        assert time.monotonic() - began > 5 * 0.3
        assert ledger.refused == []
        assert min(_seconds_to_read(client) for _ in range(10)) < 0.3, "reading waits for no writer"
    assert injected(trace) >= 5
    check_all(here, ledger, node)


def test_the_small_disk_is_small(state_dir):
    """Control: the fault is there, for whoever writes."""
    with small_disk(state_dir / "disk", "1m") as disk:
        fill(disk)
        with pytest.raises(OSError, match="No space left"):
            (disk / "more").write_bytes(b"x" * 8192)


def _seconds_to_read(client):
    began = time.monotonic()
    assert client.get("/v1/domains").status_code == 200
    return time.monotonic() - began
