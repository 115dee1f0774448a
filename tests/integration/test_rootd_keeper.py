"""Who keeps rootd running under `edgeward up`: it comes back, it says so, and it ends when `up` does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeward.cli.up import keeper_command
from tests.integration.processes import is_alive, until
from tests.integration.rootd_rig import Rootd


class Kept:
    def __init__(self, said: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.socket, self.process = said, process
        self.said: list[dict[str, Any]] = []
        said.settimeout(30)

    def until(self, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Give the first that is said and true; its end is told as nothing."""
        while data := self.socket.recv(4096):
            self.said.append(json.loads(data))
            if true(self.said[-1]):
                return self.said[-1]
        return {}


@contextmanager
def kept(rootd: Rootd, *more: str) -> Iterator[Kept]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv = [*keeper_command(), *rootd.command(), "--attached", *more]
    with ours, (rootd.place / "out").open("wb") as out:
        with theirs:
            process = subprocess.Popen(argv, stdin=theirs, stderr=out, process_group=0)
        try:
            yield Kept(ours, process)
        finally:
            ours.close()
            process.wait(30)


def is_ready(said: dict[str, Any]) -> bool:
    return said["state"] == "ready"


def test_a_killed_rootd_is_started_again_and_does_its_actions(state_dir: Path) -> None:
    rootd = Rootd(state_dir)
    rootd.action("who", ["/usr/bin/id", "-u"])
    with kept(rootd) as found:
        before = found.until(is_ready)
        os.kill(before["pid"], signal.SIGKILL)
        after = found.until(is_ready)
        answer = rootd.ask("who")
        os.kill(after["pid"], signal.SIGSEGV)
        again = found.until(is_ready)

    assert answer["output"] == f"{os.getuid()}\n"
    assert before["restarts"] == 0
    assert (after["restarts"], after["last_exit"]) == (1, "killed by SIGKILL")
    assert (again["restarts"], again["last_exit"]) == (2, "killed by SIGSEGV")
    assert len({before["pid"], after["pid"], again["pid"]}) == 3
    assert [said["state"] for said in found.said][:3] == ["starting", "ready", "waiting"]


def test_it_ends_with_up_and_takes_rootd_along(state_dir: Path) -> None:
    rootd = Rootd(state_dir)
    with kept(rootd) as found:
        pid = found.until(is_ready)["pid"]
        found.socket.close()

        assert found.process.wait(30) == 0
        until(lambda: not is_alive(pid), what="rootd has ended")


def test_without_its_keeper_rootd_goes_on_until_up_ends(state_dir: Path) -> None:
    rootd = Rootd(state_dir)
    with kept(rootd) as found:
        pid = found.until(is_ready)["pid"]
        found.process.kill()
        found.process.wait(30)

        assert rootd.ask("list")["outcome"] == "done"
        found.socket.close()
        until(lambda: not is_alive(pid), what="rootd has ended")


def test_what_can_never_run_is_said_once_in_a_sentence(state_dir: Path) -> None:
    rootd = Rootd(state_dir)
    with kept(rootd, "--user", "nobody-of-that-name") as found:
        said = found.until(lambda one: one["state"] == "ended")

        assert found.process.wait(30) == 2
    assert said["last_exit"].startswith("exit code 2")
    assert rootd.place.joinpath("out").read_text() == (
        "edgeward rootd: this host has no user 'nobody-of-that-name';"
        " make it: useradd --system 'nobody-of-that-name'\n"
    )


def test_nobody_else_can_say_that_rootd_is_ready(state_dir: Path) -> None:
    rootd = Rootd(state_dir)
    with kept(rootd) as found:
        found.until(is_ready)
        lines = Path("/proc/net/unix").read_text().splitlines()
        inodes = {
            os.readlink(link) for link in Path(f"/proc/{found.process.pid}/fd").iterdir() if link.is_symlink()
        }
        heard = [
            line.split()[-1] for line in lines if f"socket:[{line.split()[6]}]" in inodes and "@" in line
        ]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"READY=1", "\0" + heard[0][1:])
        found.socket.settimeout(0.3)
        try:
            data = found.socket.recv(4096)
        except TimeoutError:
            data = b""

    assert data == b""


def test_a_directory_that_a_group_can_write_is_named_with_what_to_do(state_dir: Path) -> None:
    rootd = Rootd(state_dir)
    open_one = state_dir / "var"
    open_one.mkdir()
    open_one.chmod(0o775)
    rootd.log = open_one / "log"
    done = subprocess.run(rootd.command(), capture_output=True, text=True, timeout=30)

    assert done.returncode == 2
    assert f"{open_one} can be written by others; chmod go-w it, or name another place" in done.stderr
