"""How the container starts: as runc starts it, with and without the capability for low ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CONTAINER = Path(__file__).parents[2] / "deploy" / "container"
AS_RUNC = Path(__file__).parent / "as_runc.py"
USER = 10001
NET_BIND_SERVICE = 10
_SHOW = """#!/usr/bin/python3 -I
import socket, sys
for line in open("/proc/self/status"):
    if line.startswith(("Cap", "NoNewPrivs", "Uid")):
        print(*line.split())
with socket.socket() as listening:
    try:
        listening.bind(("127.0.0.1", PORT))
        print("bound")
    except PermissionError:
        print("refused")
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a program as runc does")


@pytest.fixture
def image(state_dir: Path, needs: Callable[[str], str]) -> Iterator[Path]:
    """The files of the image that its start is made of; in Edgeward's place a program that shows what it may."""
    needs("setcap")
    state_dir.chmod(0o755)
    for name in ("entry.py", "install"):
        shutil.copy(CONTAINER / name, state_dir)
    program = state_dir / "program"
    program.write_text(_SHOW.replace("PORT", str(_low_port())))
    program.chmod(0o755)
    entry = state_dir / "entry.py"
    entry.write_text(entry.read_text().replace('"/opt/edgeward/bin/python"', repr(str(program))))
    subprocess.run([state_dir / "install"], check=True, timeout=60)
    yield state_dir


def _low_port() -> int:
    """Give one that takes a right to listen on, and that nobody listens on."""
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    for port in range(first - 1, 0, -1):
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    pytest.skip("every port is free for everybody here")


def started(image: Path, interpreter: str | Path, capability: int) -> dict[str, str]:
    argv = [sys.executable, "-I", AS_RUNC, USER, capability, interpreter, "-I", image / "entry.py", "envoy"]
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode == 0, done.stderr
    lines = [line.partition(" ")[::2] for line in done.stdout.splitlines()]
    return {name.rstrip(":"): rest for name, rest in lines}


def test_with_the_capability_low_ports_are_its_own_and_nothing_else(image: Path) -> None:
    found = started(image, image / "python-low-ports", NET_BIND_SERVICE)

    only = f"{1 << NET_BIND_SERVICE:016x}"
    assert {found[name] for name in ("CapEff", "CapPrm", "CapAmb", "CapInh", "CapBnd")} == {only}
    assert found["NoNewPrivs"] == "1"
    assert set(found["Uid"].split()) == {str(USER)}
    assert "bound" in found


def test_the_plain_interpreter_has_none_although_the_container_may_have_it(image: Path) -> None:
    found = started(image, "/usr/bin/python3", NET_BIND_SERVICE)

    assert found["CapEff"] == found["CapAmb"] == f"{0:016x}"
    assert "refused" in found, "else the test above would show nothing"


def test_without_the_capability_that_interpreter_does_not_start(image: Path) -> None:
    argv = [sys.executable, "-I", AS_RUNC, USER, -1, image / "python-low-ports", "-I", image / "entry.py"]
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60, cwd="/")

    assert done.returncode != 0
    assert "not permitted" in done.stderr


def test_others_may_not_run_the_interpreter_with_the_capability(image: Path) -> None:
    made = (image / "python-low-ports").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o7777) == (0, USER, 0o750)
