"""How the container starts: as runc starts it, with and without the capability for low ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a program as runc does"),
    pytest.mark.timeout(600),
]


@dataclass(frozen=True)
class Image:
    """A root with the files that the image's start is made of; in Edgeward's place a program that shows what
    it may do. ``within`` stands before commands that are run in it.
    """

    within: tuple[str, ...]
    libexec: str

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.within, *argv], capture_output=True, text=True, timeout=120, cwd="/")

    def as_runc(self, capability: int, interpreter: str) -> subprocess.CompletedProcess[str]:
        """Start the entry by an interpreter as runc would, for Envoy."""
        start = (interpreter, "-I", f"{self.libexec}/entry.py", "envoy")
        return self.run(
            "/usr/bin/python3", "-I", f"{self.libexec}/as_runc.py", str(USER), str(capability), *start
        )


@pytest.fixture(scope="module", params=["host", pytest.param("debian", marks=pytest.mark.slow)])
def image(request: pytest.FixtureRequest, needs: Callable[[str], str]) -> Iterator[Image]:
    """The image's start on this host's own files, or on those of the Debian that the image is made from."""
    needs("setcap" if request.param == "host" else "mmdebstrap")
    with tempfile.TemporaryDirectory(prefix="ew-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield _made(Path(directory), own_root=request.param == "debian")


def _made(directory: Path, own_root: bool) -> Image:
    within: tuple[str, ...] = ()
    libexec = directory / "libexec"
    inside = str(libexec)
    if own_root:
        root = directory / "root"
        made = [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--include=python3,libcap2-bin",
            "bookworm",
            root,
        ]
        subprocess.run(made, check=True, timeout=500)
        libexec, inside = root / "libexec", "/libexec"
        mounted = ("sh", "-c", 'mount -t proc proc /proc && exec "$@"', "sh")
        within = ("unshare", "--mount", "--", "chroot", str(root), *mounted)
    libexec.mkdir()
    for path in (CONTAINER / "entry.py", CONTAINER / "install", AS_RUNC):
        shutil.copy(path, libexec)
    (libexec / "program").write_text(_SHOW.replace("PORT", str(_low_port())))
    (libexec / "program").chmod(0o755)
    entry = libexec / "entry.py"
    entry.write_text(entry.read_text().replace('"/opt/edgeward/bin/python"', repr(f"{inside}/program")))
    image = Image(within, inside)
    installed = image.run(f"{inside}/install")
    assert installed.returncode == 0, installed.stderr
    return image


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


def started(image: Image, interpreter: str, capability: int) -> dict[str, str]:
    done = image.as_runc(capability, interpreter)
    assert done.returncode == 0, done.stderr
    lines = [line.partition(" ")[::2] for line in done.stdout.splitlines()]
    return {name.rstrip(":"): rest for name, rest in lines}


def test_with_the_capability_low_ports_are_its_own_and_nothing_else(image: Image) -> None:
    found = started(image, f"{image.libexec}/python-low-ports", NET_BIND_SERVICE)

    only = f"{1 << NET_BIND_SERVICE:016x}"
    assert {found[name] for name in ("CapEff", "CapPrm", "CapAmb", "CapInh", "CapBnd")} == {only}
    assert found["NoNewPrivs"] == "1"
    assert set(found["Uid"].split()) == {str(USER)}
    assert "bound" in found


def test_the_plain_interpreter_has_none_although_the_container_may_have_it(image: Image) -> None:
    found = started(image, "/usr/bin/python3", NET_BIND_SERVICE)

    assert found["CapEff"] == found["CapAmb"] == f"{0:016x}"
    assert "refused" in found, "else the test above would show nothing"


def test_without_the_capability_that_interpreter_does_not_start(image: Image) -> None:
    done = image.as_runc(-1, f"{image.libexec}/python-low-ports")

    assert done.returncode != 0
    assert "not permitted" in done.stderr


def test_others_may_not_run_the_interpreter_with_the_capability(image: Image) -> None:
    made = image.run("stat", "-c", "%u %g %a", f"{image.libexec}/python-low-ports")
    assert made.stdout.split() == ["0", str(USER), "750"]
