"""The relay's systemd units: judged by systemd's own tools, and the relay held to what its unit allows."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.name_server import name_server
from tests.integration.processes import running, until
from tests.integration.relay_rig import End, answering, dial, exactly, listener, play, said, word_from
from tests.ports import free_port

UNITS = Path(__file__).parents[2] / "deploy/systemd"
SERVICE = UNITS / "edgeward-relay@.service"
REFUSED_AND_NOT_MISSED = {"prlimit64"}
"""What the filter answers with EPERM, and the C library does without."""


@pytest.fixture
def analyze(needs: Callable[[str], str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    program = needs("systemd-analyze")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        argv = [program, *map(str, arguments), "--no-pager"]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60)

    return run


Analyze = Callable[..., subprocess.CompletedProcess[str]]


def test_the_service_exposes_next_to_nothing(analyze: Analyze) -> None:
    judged = analyze("security", "--offline=true", "--threshold=11", SERVICE)
    assert judged.returncode == 0, judged.stdout.splitlines()[-1]


def test_the_units_are_sound_with_and_without_drop_ins(analyze: Analyze, tmp_path: Path) -> None:
    program = tmp_path / "edgeward"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    service = SERVICE.read_text().replace("/usr/bin/edgeward", str(program))
    (tmp_path / "edgeward-relay@.service").write_text(service)
    (tmp_path / "edgeward-relay@.socket").write_text((UNITS / "edgeward-relay@.socket").read_text())
    for name, text in {
        "edgeward-relay@.service.d/target.conf": "[Service]\nEnvironment=TARGET=php.example:9000\n",
        "edgeward-relay@.service.d/tunnel.conf": "[Service]\nNetworkNamespacePath=/run/netns/office\n",
        "edgeward-relay@.socket.d/group.conf": "[Socket]\nSocketGroup=root\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    judged = analyze("verify", tmp_path / "edgeward-relay@.service", tmp_path / "edgeward-relay@.socket")
    assert (judged.returncode, judged.stderr) == (0, "")


def _allowed(analyze: Analyze) -> set[str]:
    """Read which system calls the unit's filters leave."""
    sets: dict[str, set[str]] = {}
    name = ""
    for line in analyze("syscall-filter").stdout.splitlines():
        if line.startswith("@"):
            name = line.strip()
            sets[name] = set()
        elif name and (word := line.strip()) and not word.startswith("#"):
            sets[name].add(word)

    def calls(word: str) -> set[str]:
        return set().union(*map(calls, sets[word])) if word.startswith("@") else {word}

    allowed: set[str] = set()
    for filters in re.findall(r"^SystemCallFilter=(.*)$", SERVICE.read_text(), re.MULTILINE):
        named = set().union(*map(calls, filters.lstrip("~").split()))
        allowed = allowed - named if filters.startswith("~") else allowed | named
    return allowed | calls("@default")


def test_every_system_call_of_a_relay_is_one_that_its_unit_allows(
    analyze: Analyze, needs: Callable[[str], str], state_dir: Path
) -> None:
    port, front, trace = free_port(), free_port(), state_dir / "trace"
    strace = [needs("strace"), "-f", "-qq", "-o", trace, "-e", "inject=prlimit64:error=EPERM"]
    with name_server() as dns, listener(port) as backend:
        dns.put("backend.example", "A", 1, "127.0.0.1")
        dns.truncates = True
        argv = [
            *strace, sys.executable, "-m", "edgeward.relay", "--to", f"backend.example:{port}", "--listen", front,
            "--listen", f"{state_dir}/front", "--resolver", dns.address, "--metrics", f"unix:{state_dir}/status",
            "--proxy-protocol", "--allow-user", "0", "--idle-timeout", "60",
        ]  # fmt: skip
        with running(argv, env={"NOTIFY_SOCKET": f"{state_dir}/nobody"}) as process:
            until(lambda: said(process, "relay started"), what="the relay")
            play(front, backend, End([200_000, 900_000], reads=777), End([500_000]))
            play(f"{state_dir}/front", backend, End([1, 200_000], resets=True), End([100]))
            dial(f"{state_dir}/status").close()
    used = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", trace.read_text(), re.MULTILINE))
    assert {"splice", "epoll_wait", "accept4"} <= used
    assert used - _allowed(analyze) - REFUSED_AND_NOT_MISSED == set()


def test_a_relay_to_a_name_needs_no_memory_that_is_written_and_run(state_dir: Path) -> None:
    port, front = free_port(), free_port()
    held = (
        "import ctypes, sys; libc = ctypes.CDLL(None);"
        "assert libc.prctl(65, 1, 0, 0, 0) == 0;"  # PR_SET_MDWE, as MemoryDenyWriteExecute=
        "from edgeward.relay.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    with name_server() as dns, answering(port, b"hello"):
        dns.put("backend.example", "A", 1, "127.0.0.1")
        to = ["--to", f"backend.example:{port}", "--listen", front, "--resolver", dns.address]
        with running([sys.executable, "-c", held, *to]) as process:
            until(lambda: said(process, "relay started"), what="the relay")
            assert word_from(front, 5) == b"hello"


def test_a_relay_without_a_right_in_a_name_space_of_its_own_users_serves(state_dir: Path) -> None:
    """PrivateUsers=, no capabilities: what is left is enough."""
    port, path = free_port(), f"{state_dir}/front"
    with answering(port, b"hello"):
        argv = [
            "unshare",
            "--user",
            "--",
            "setpriv",
            "--no-new-privs",
            "--bounding-set",
            "-all",
            sys.executable,
        ]
        tried = subprocess.run([*argv, "-c", "pass"], capture_output=True, timeout=30)
        if tried.returncode != 0:
            pytest.skip("this kernel gives no user namespaces here")
        with running(
            [*argv, "-m", "edgeward.relay", "--to", f"127.0.0.1:{port}", "--listen", path]
        ) as process:
            until(lambda: said(process, "relay started"), what="the relay")
            assert exactly(dial(path), 5) == b"hello"
