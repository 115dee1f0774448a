"""What rootd must stand. Each test has a control run that fails when the defence is off."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from edgeward import actions
from edgeward.rootd import program, serving, trusted
from edgeward.rootd.audit import NAME, AuditLog
from edgeward.rootd.table.reading import Table
from tests.integration.processes import until
from tests.integration.rootd_rig import IS_ROOT, NOBODY, Rootd
from tests.unit.rootd.test_fuzz import mutated

# --- frames over the socket, and what they get executed ----------------------------------------


def executed(trace: Path) -> set[str]:
    """Give the programs that rootd's children became, as strace saw it; rootd's own start is left out."""
    found = set()
    for line in trace.read_text(errors="replace").splitlines()[1:]:
        _, call, rest = line.partition("execve(")
        if call and rest.startswith('"'):
            found.add(rest[1:].partition('"')[0])
    return found


def flood(rootd: Rootd, count: int, seed: int) -> None:
    """Send frames nobody wrote by hand, on as many connections as it takes."""
    rng, connection = random.Random(seed), rootd.connected()
    for index in range(count):
        data = mutated(rng)
        length = len(data) if index % 16 else rng.choice((0, len(data) - 1, 65_537))
        try:
            connection.sendall(length.to_bytes(4, "big") + data)
            if index % 16 or length:
                head = connection.recv(65_536)
                if head and b"malformed" not in head:
                    continue
        except OSError:
            pass
        connection.close()
        connection = rootd.connected()
    connection.close()


def traced(state_dir: Path, strace: str, count: int, seed: int) -> tuple[Rootd, set[str]]:
    rootd, trace = Rootd(state_dir), state_dir / "trace"
    for name in ("plain", "port", "host", "ip", "text", "enum"):
        values = "" if name == "plain" else 'values.x = {pattern = "[ -~]+"}'
        rootd.action(name, ["/usr/bin/true", *([] if name == "plain" else ["{x}"])], values)
    before = [strace, "--seccomp-bpf", "-f", "-qq", "-e", "trace=execve,execveat", "-o", str(trace)]
    with rootd.serving(before=before):
        flood(rootd, count, seed)
        assert rootd.ask("plain")["outcome"] == "done"
        assert len(rootd.written()) > count // 2
        end_traced(rootd)
    return rootd, executed(trace)


def end_traced(rootd: Rootd) -> None:
    """End rootd, and with it the strace it runs under, which itself does not listen."""
    assert rootd.process is not None
    children = Path(f"/proc/{rootd.process.pid}/task/{rootd.process.pid}/children").read_text()
    os.kill(int(children.split()[0]), signal.SIGTERM)
    assert rootd.process.wait() == 0


@pytest.mark.timeout(300)
def test_six_thousand_frames_execute_nothing_outside_the_table(state_dir, needs):
    _, found = traced(state_dir, needs("strace"), 6_000, seed=1)

    assert found == {"/usr/bin/true"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_frames_execute_nothing_outside_the_table(state_dir, needs):
    _, found = traced(state_dir, needs("strace"), 1_000_000, seed=2)

    assert found == {"/usr/bin/true"}


def test_that_check_sees_a_program_from_outside_the_table(state_dir, needs):
    rootd, trace = Rootd(state_dir), state_dir / "trace"
    rootd.action("plain", [rootd.script("shell", "#!/bin/sh\n/usr/bin/id\n")])
    before = [needs("strace"), "--seccomp-bpf", "-f", "-qq", "-e", "trace=execve,execveat", "-o", str(trace)]
    with rootd.serving(before=before):
        rootd.ask("plain")
        end_traced(rootd)

    assert "/usr/bin/id" in executed(trace)


# --- a thousand who come and do nothing --------------------------------------------------------


@contextmanager
def in_this_process(rootd: Rootd) -> Iterator[None]:
    """Serve with the classes of rootd in a thread, so that a defence can be taken off."""
    ready, loop, servers = threading.Event(), asyncio.new_event_loop(), []

    def serve() -> None:
        table, log = Table(rootd.actions, {}, frozenset()), AuditLog(rootd.log)
        listener, lock = program.listening(Path(rootd.socket))
        server = serving.Server(listener, table, log)
        servers.append(server)
        loop.call_soon(ready.set)
        loop.run_until_complete(server.run())
        log.close()
        listener.close()
        os.close(lock)

    rootd.log.mkdir(mode=0o755, exist_ok=True)
    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(30)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(servers[0].end)
        thread.join(30)
        loop.close()


def slow_clients(rootd: Rootd, count: int) -> list[socket.socket]:
    found = []
    for index in range(count):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(rootd.socket)
        with suppress(OSError):
            connection.sendall((b"", b"\0", b"\0\0\1\0", b"\0\0\1\0{")[index % 4])
        found.append(connection)
    return found


def test_an_honest_request_is_answered_among_thousands_of_slow_ones(state_dir):
    rootd = Rootd(state_dir)
    rootd.action("plain", ["/usr/bin/true"])
    with rootd.serving():
        connections = slow_clients(rootd, 1500)
        for _ in range(20):
            assert rootd.ask("plain")["outcome"] == "done"
            connections += slow_clients(rootd, 50)
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("defended", [True, False])
def test_it_would_not_be_if_the_oldest_were_not_let_go(state_dir, monkeypatch, defended):
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 30)
    monkeypatch.setattr(serving, "REQUEST_SECONDS", 30.0)
    if not defended:
        room = lambda self: len(self._connections) < serving.MOST_CONNECTIONS  # noqa: E731
        monkeypatch.setattr(serving.Server, "_has_room", room)
    rootd = Rootd(state_dir)
    rootd.action("plain", ["/usr/bin/true"])
    with in_this_process(rootd):
        connections = slow_clients(rootd, 60)
        try:
            answered = rootd.ask("plain")["outcome"] == "done"
        except actions.Unanswered:
            answered = False
        for connection in connections:
            connection.close()

    assert answered is defended


def test_who_takes_no_answers_holds_nobody_up(state_dir):
    rootd = Rootd(state_dir)
    rootd.action("much", ["/usr/bin/yes"], "timeout = 0.1\noutput = 65536")
    rootd.action("plain", ["/usr/bin/true"])
    with rootd.serving():
        data = b'{"action": "much"}'
        deaf = [rootd.connected() for _ in range(5)]
        for connection in deaf:
            connection.sendall((len(data).to_bytes(4, "big") + data) * 20)
        assert rootd.ask("plain")["outcome"] == "done"
        for connection in deaf:
            connection.close()
        until(lambda: rootd.ask("plain")["outcome"] == "done")


# --- links swapped in under what it writes -----------------------------------------------------

_SWAPPER = """
import ctypes, os, sys
place, uid = sys.argv[1], int(sys.argv[2])
if uid >= 0:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
os.chdir(place)
os.symlink("../outside", "link")
libc, here = ctypes.CDLL(None), -100
print("ready", flush=True)
while libc.renameat2(here, b"dir", here, b"link", 2) == 0:  # exchanged at once: there is always one of them
    pass
"""


@contextmanager
def swapping(place: Path, uid: int) -> Iterator[None]:
    """Have ``place/dir`` be a directory and a link to ``outside`` in turns, as fast as can be."""
    import sys

    argv = [sys.executable, "-I", "-S", "-c", _SWAPPER, str(place), str(uid)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as swapper:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        try:
            yield
        finally:
            assert swapper.poll() is None
            swapper.send_signal(signal.SIGKILL)


def swapped(state_dir: Path, owner: int) -> tuple[Path, Path]:
    """Give a directory whose entry is swapped, and the place outside of it, which nothing may come to."""
    place, outside = state_dir / "place", state_dir / "outside"
    for path in (place, outside, place / "dir"):
        path.mkdir(mode=0o755)
    if owner >= 0:
        os.chown(place, owner, owner)
    state_dir.chmod(0o755)
    return place, outside


def write_log(path: Path) -> None:
    log = AuditLog(path)
    log.write({"x": 1})
    log.close()


def write_socket(path: Path) -> None:
    listener, lock = program.listening(path / "s")
    listener.close()
    os.close(lock)


def write_naively(path: Path) -> None:
    if not (path.is_symlink() or path.stat().st_uid not in (0, os.geteuid())):  # looked at by name
        (path / NAME).open("a").close()  # and used by name


@pytest.mark.timeout(300)
@pytest.mark.parametrize("write", [write_log, write_socket], ids=["log", "socket"])
def test_a_link_that_is_swapped_in_leads_nowhere(state_dir, write):
    owner = NOBODY if IS_ROOT else -1
    place, outside = swapped(state_dir, owner)
    refused = 0
    with swapping(place, owner):
        for _ in range(100_000):
            try:
                write(place / "dir")
            except (trusted.Untrusted, OSError):
                refused += 1

    assert list(outside.iterdir()) == []
    assert refused > 100  # the link was there while we looked


@pytest.mark.parametrize("write", [write_log, write_socket], ids=["log", "socket"])
def test_nor_where_the_one_above_is_root_s(state_dir, write):
    place, outside = swapped(state_dir, -1)
    came = 0
    with swapping(place, -1):
        for _ in range(5_000):
            with suppress(trusted.Untrusted, OSError):
                write(place / "dir")
                came += 1

    assert list(outside.iterdir()) == []
    assert came > 10  # and a directory is written to, where it is one


def test_it_leads_those_astray_who_look_by_name_first(state_dir):
    place, outside = swapped(state_dir, -1)
    with swapping(place, -1):
        for _ in range(200_000):
            with suppress(OSError):
                write_naively(place / "dir")
            if (outside / NAME).exists():
                break

    assert (outside / NAME).exists()
