"""How a relay begins, bounds what it takes, and ends."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.processes import running, until
from tests.integration.relay_rig import (
    POOL,
    answering,
    asked,
    black_hole,
    dial,
    exactly,
    fetched,
    listener,
    relay,
    said,
    word_from,
)
from tests.ports import free_port

RELAY = [sys.executable, "-m", "edgeward.relay"]


@pytest.fixture
def port() -> Iterator[int]:
    """Give the port of a backend that says a word and then echoes."""
    number = free_port()
    with answering(number, b"hello"):
        yield number


@pytest.fixture
def front() -> int:
    return free_port()


@pytest.fixture
def activate(needs: Callable[[str], str]) -> str:
    return needs("systemd-socket-activate")


# --- sockets from systemd ---------------------------------------------------------------------------


def test_sockets_that_systemd_hands_over_are_served_from_the_first_connection(
    activate: str, port: int, front: int, state_dir: Path
) -> None:
    path = f"{state_dir}/front"
    argv = [activate, "-l", f"127.0.0.1:{front}", "-l", path, "--fdname=web:local"]
    with running([*argv, *RELAY, "--to", f"127.0.0.1:{port}"]) as process:
        until(lambda: Path(path).exists(), what="the sockets")
        assert word_from(front, 5) == b"hello"
        assert word_from(path, 5) == b"hello"
        (line,) = said(process, "relay started")
        assert line["listen"] == ["web", "local"]


def test_the_command_hands_over_to_the_relay_before_it_reads_anything_else(
    activate: str, port: int, front: int
) -> None:
    command = Path(sys.executable).with_name("edgeward")
    with running([activate, "-l", f"127.0.0.1:{front}", command, "relay", "--to", f"127.0.0.1:{port}"]):
        time.sleep(0.2)
        assert word_from(front, 5) == b"hello"
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "edgeward.cli", "relay", "--help"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "usage: edgeward relay" in told.stdout
    for heavy in ("typer", "asyncio", "pydantic", "pycares", "subprocess"):
        assert f" {heavy}\n" not in told.stderr


def test_a_datagram_socket_is_refused_with_the_remedy(activate: str, front: int) -> None:
    with running([activate, "-d", "-l", f"127.0.0.1:{front}", *RELAY, "--to", "127.0.0.1:9"]) as process:
        with socket.socket(type=socket.SOCK_DGRAM) as wakes:
            until(lambda: not wakes.sendto(b"x", ("127.0.0.1", front)) or not process.alive())
        assert process.wait() == 2
        assert "use ListenStream= and Accept=no" in process.output()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: --to"),
        (["--to", "backend"], "'backend' is not HOST:PORT"),
        (["--to", "::1:80"], "write an IPv6 address in brackets"),
        (["--to", "127.0.0.1:9"], "nothing to listen on; give --listen ADDRESS"),
        (["--to", "127.0.0.1:9", "--listen", "shop.example:80"], "'shop.example' is no IP address"),
        (["--to", "127.0.0.1:9", "--listen", "192.0.2.1:80"], "cannot listen on 192.0.2.1:80"),
        (["--to", "127.0.0.1:9", "--listen", "1", "--allow-user", "nobody-here"], "there is no user"),
        (["--to", "127.0.0.1:9", "--listen", "1", "--connections-max", "0"], "no whole number of at least 1"),
        (["status", "/nowhere/status"], "does not answer"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(arguments: list[str], sentence: str) -> None:
    done = subprocess.run([*RELAY, *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == (1 if arguments[:1] == ["status"] else 2)
    assert sentence in done.stdout + done.stderr


def test_a_socket_that_a_killed_relay_left_behind_is_replaced_and_a_live_one_is_not(
    port: int, state_dir: Path
) -> None:
    path = f"{state_dir}/front"
    arguments = ("--to", f"127.0.0.1:{port}", "--listen", path)
    with relay(*arguments) as process:
        process.send(signal.SIGKILL)
        process.wait()
    assert Path(path).exists()
    with relay(*arguments):
        assert word_from(path, 5) == b"hello"
        assert Path(path).stat().st_mode & 0o777 == 0o660
        second = subprocess.run([*RELAY, *arguments], capture_output=True, text=True, timeout=30)
        assert second.returncode == 2
        assert word_from(path, 5) == b"hello"
    assert not Path(path).exists()


# --- bounds -----------------------------------------------------------------------------------------


def test_a_full_relay_lets_new_connections_wait_and_says_so_once(port: int, front: int) -> None:
    with relay("--to", f"127.0.0.1:{port}", "--listen", front, "--connections-max", 3) as process:
        held = [dial(front) for _ in range(3)]
        for stream in held:
            assert exactly(stream, 5) == b"hello"
        waiting = [dial(front) for _ in range(4)]
        waiting[0].settimeout(0.5)
        with pytest.raises(TimeoutError):
            waiting[0].recv(1)
        for stream in held:
            stream.close()
        for stream in waiting:
            stream.settimeout(30)
            assert exactly(stream, 5) == b"hello"
            stream.close()
        assert len(said(process, "full")) == 1


def test_a_relay_out_of_descriptors_lets_new_connections_wait(port: int, front: int) -> None:
    with relay("--to", f"127.0.0.1:{port}", "--listen", front) as process:
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (14, hard))
        streams = [dial(front) for _ in range(12)]
        until(lambda: said(process, "out of descriptors"), what="the warning")
        assert process.alive()
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        heard = 0
        for stream in streams:
            with suppress(ConnectionError):
                heard += exactly(stream, 5) == b"hello"
            stream.close()
        assert heard >= 10  # one may have been accepted with no descriptor left for its backend
        assert word_from(front, 5) == b"hello"


def test_a_backend_that_answers_nothing_is_given_up(front: int) -> None:
    hole = free_port()
    with (
        black_hole("127.0.0.1", hole),
        relay("--to", f"127.0.0.1:{hole}", "--listen", front, "--connect-timeout", 0.4) as process,
    ):
        assert word_from(front, 1) == b""
        until(lambda: said(process, "backend not reached"), what="the line")
        assert said(process, "backend not reached")[0]["reason"] == "no answer within 0.4 s"


def test_a_unix_backend_whose_backlog_is_full_is_waited_for(front: int, state_dir: Path) -> None:
    path = f"{state_dir}/backend"
    with socket.socket(socket.AF_UNIX) as backend:
        backend.bind(path)
        backend.listen(0)
        first = dial(path)
        with relay("--to", path, "--listen", front):
            stream = dial(front)
            time.sleep(0.2)
            backend.accept()[0].close()
            far, _ = backend.accept()
            far.sendall(b"hello")
            assert exactly(stream, 5) == b"hello"
            far.close()
            stream.close()
        first.close()


def test_idle_connections_end_and_busy_ones_do_not(port: int, front: int) -> None:
    with relay("--to", f"127.0.0.1:{port}", "--listen", front, "--idle-timeout", 2):
        idle, busy = dial(front), dial(front)
        assert exactly(idle, 5) == exactly(busy, 5) == b"hello"
        while not select.select([idle], [], [], 0.1)[0]:
            busy.sendall(b"x")
            assert busy.recv(1) == b"x"
        busy.sendall(b"x")
        assert busy.recv(1) == b"x"
        with pytest.raises(ConnectionResetError):
            idle.recv(1)
        busy.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_only_the_users_and_groups_that_may_are_let_in_at_a_unix_socket(port: int, state_dir: Path) -> None:
    path = f"{state_dir}/front"
    state_dir.chmod(0o755)
    ask = (
        "import os, socket, sys; os.setgroups([int(g) for g in sys.argv[2:]]);"
        "os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]));"
        f"s = socket.socket(socket.AF_UNIX); s.connect({path!r}); print(len(s.recv(5)))"
    )

    def seen(user: int, *groups: int) -> str:
        argv = [sys.executable, "-I", "-c", ask, str(user), *map(str, groups)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.strip()

    allowed = ("--allow-user", 4001, "--allow-group", 4002)
    with relay("--to", f"127.0.0.1:{port}", "--listen", path, *allowed) as process:
        Path(path).chmod(0o666)
        assert seen(4001) == "5"
        assert seen(4003, 4002) == "5"
        assert seen(4003) == "0"
        assert said(process, "user not allowed")[0]["user"] == 4003


# --- the PROXY protocol -----------------------------------------------------------------------------


def test_the_backend_is_told_who_connected_before_anything_else(front: int, state_dir: Path) -> None:
    target, path = free_port(), f"{state_dir}/front"
    with (
        listener(target) as backend,
        relay("--to", f"127.0.0.1:{target}", "--listen", front, "--listen", path, "--proxy-protocol"),
    ):
        near = dial(front)
        near.sendall(b"after")
        far, _ = backend.accept()
        head = exactly(far, 28 + 5)
        source = near.getsockname()
        assert head[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
        assert head[16:28] == bytes([127, 0, 0, 1] * 2) + source[1].to_bytes(2, "big") + front.to_bytes(
            2, "big"
        )
        assert head[28:] == b"after"

        local = dial(path)
        far.close()
        far, _ = backend.accept()
        assert exactly(far, 16) == b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
        for stream in (local, near, far):
            stream.close()


# --- how it is --------------------------------------------------------------------------------------


def test_status_and_metrics_tell_what_went_through(port: int, front: int, state_dir: Path) -> None:
    path = state_dir / "status"
    with relay("--to", f"127.0.0.1:{port}", "--listen", front, "--metrics", f"unix:{path}"):
        stream = dial(front)
        stream.sendall(POOL[:1000])
        assert exactly(stream, 1005) == b"hello" + POOL[:1000]

        told = asked(path)
        assert told["connections"]["open"] == told["connections"]["accepted"] == 1
        assert told["bytes"] == {"to_backend": 1000, "to_clients": 1005}
        stream.close()
        until(lambda: asked(path)["connections"]["open"] == 0, what="the end")
        metrics = fetched(path, "/metrics")
        assert 'edgeward_relay_bytes_total{to="client"} 1005' in metrics
        assert "edgeward_relay_connect_seconds_count 1" in metrics
        assert f'edgeward_relay_backend_address{{address="127.0.0.1:{port}"}} 1' in metrics
        assert fetched(path, "/other").startswith("HTTP/1.1 404")

        command = subprocess.run([*RELAY, "status", path], capture_output=True, text=True, timeout=30)
        assert command.returncode == 0
        assert command.stdout.startswith(f"{path}: 0 of at most ")
        assert f"1 in all; 127.0.0.1:{port}" in command.stdout


def test_the_manager_is_told_when_it_is_ready_how_it_is_and_that_it_lives(
    port: int, front: int, state_dir: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{state_dir}/notify")
        manager.settimeout(30)
        told: list[str] = []

        def wait_for(text: str) -> None:
            while not any(text in message for message in told):
                told.append(manager.recv(4096).decode())

        env = {"NOTIFY_SOCKET": f"{state_dir}/notify", "WATCHDOG_USEC": "600000"}
        with relay("--to", f"127.0.0.1:{port}", "--listen", front, env=env) as process:
            wait_for("READY=1")
            stream = dial(front)
            stream.recv(5)
            wait_for("STATUS=1 of at most ")
            wait_for("WATCHDOG=1")
            stream.close()
            wait_for("STATUS=0 of at most ")
            process.send(signal.SIGTERM)
            wait_for("STOPPING=1")


# --- the end ----------------------------------------------------------------------------------------


def test_on_sigterm_what_goes_on_goes_on_and_nobody_new_comes_in(port: int, front: int) -> None:
    with relay("--to", f"127.0.0.1:{port}", "--listen", front) as process:
        stream = dial(front)
        assert exactly(stream, 5) == b"hello"
        process.send(signal.SIGTERM)
        until(lambda: said(process, "draining"), what="the drain")
        with pytest.raises(ConnectionRefusedError):
            dial(front)
        stream.sendall(b"still")
        assert exactly(stream, 5) == b"still"
        assert process.alive()
        stream.close()
        assert process.wait() == 0


@pytest.mark.parametrize("most", [1, 5, 100])
def test_who_waits_at_our_own_sockets_when_the_drain_begins_is_served(
    port: int, front: int, state_dir: Path, most: int
) -> None:
    path = f"{state_dir}/front"
    listen = ("--listen", front, "--listen", path)
    with relay("--to", f"127.0.0.1:{port}", *listen, "--connections-max", most) as process:
        held = dial(front)
        assert exactly(held, 5) == b"hello"
        process.send(signal.SIGSTOP)
        waiting = [dial(where) for where in (front, path) * 3]
        process.send(signal.SIGTERM)
        process.send(signal.SIGCONT)
        for stream in waiting:
            assert exactly(stream, 5) == b"hello"
            stream.close()
        held.close()
        assert process.wait() == 0
        assert not said(process, "unexpected")


def test_the_drain_has_an_end(port: int, front: int) -> None:
    with relay("--to", f"127.0.0.1:{port}", "--listen", front, "--drain-seconds", 0.3) as process:
        stream = dial(front)
        assert exactly(stream, 5) == b"hello"
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        with pytest.raises(ConnectionResetError):
            stream.recv(1)


def test_an_idle_relay_exits_and_the_next_connection_starts_another(
    activate: str, port: int, front: int
) -> None:
    with socket.socket() as handed:
        handed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        handed.bind(("127.0.0.1", front))
        handed.listen(16)
        for _ in range(2):
            stream = dial(front)  # waits in the socket of the manager, which starts us
            child = subprocess.Popen(
                ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *RELAY,
                 "--to", f"127.0.0.1:{port}", "--exit-idle-time", "0.3"],
                env={**os.environ, "LISTEN_FDS": "1"},
                preexec_fn=lambda: os.dup2(handed.fileno(), 3),
                close_fds=False,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            assert exactly(stream, 5) == b"hello"
            time.sleep(0.5)
            assert child.poll() is None  # not while somebody is there
            stream.close()
            assert child.wait(30) == 0


def test_a_log_that_nobody_takes_or_that_is_full_stops_nothing(port: int, front: int) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while os.write(writing, b"x" * 4096):
            pass
    os.set_blocking(writing, True)
    for stderr in (writing, os.open("/dev/full", os.O_WRONLY)):
        child = subprocess.Popen([*RELAY, "--to", f"127.0.0.1:{port}", "--listen", str(front)], stderr=stderr)
        try:
            until(lambda: _connects(front), what="the relay")
            assert word_from(front, 5) == b"hello"
        finally:
            child.terminate()
            assert child.wait(30) == 0
        os.close(stderr)
    os.close(reading)


def _connects(front: int) -> bool:
    try:
        dial(front).close()
    except ConnectionRefusedError:
        return False
    return True


def test_when_it_is_killed_both_sides_hear_of_it_at_once(port: int, front: int) -> None:
    with relay("--to", f"127.0.0.1:{port}", "--listen", front) as process:
        stream = dial(front)
        assert exactly(stream, 5) == b"hello"
        process.send(signal.SIGKILL)
        with suppress(ConnectionResetError):
            assert stream.recv(1) == b""


@pytest.mark.slow
def test_nine_thousand_connections_are_held_without_an_error(port: int, front: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    target = free_port()
    far: list[socket.socket] = []
    with listener(target) as backend, relay("--to", f"127.0.0.1:{target}", "--listen", front) as process:

        def take() -> None:
            with suppress(OSError):
                while True:
                    far.append(backend.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        count = min(9000, (hard - 1000) // 2)
        near = [dial(front) for _ in range(count)]
        until(lambda: len(far) == count, timeout=60, what=f"{count} connections")
        for stream in near[::97]:
            stream.sendall(b"x")
        assert process.alive()
        assert not said(process, "backend not reached")
        for stream in [*near, *far]:
            stream.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
