"""The relay's systemd units: judged by systemd's own tools, and the relay held to what its unit allows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration import units
from tests.integration.name_server import name_server
from tests.integration.processes import running, until
from tests.integration.relay_rig import End, answering, dial, exactly, listener, play, said, word_from
from tests.ports import free_port

SERVICE = units.UNITS / "edgeward-relay@.service"


@pytest.fixture(autouse=True)
def tools(needs: Callable[[str], str]) -> None:
    needs("systemd-analyze")


def test_the_service_exposes_next_to_nothing() -> None:
    assert units.exposure(SERVICE) <= 1.1


def test_the_units_are_sound_with_and_without_drop_ins(tmp_path: Path) -> None:
    drop_ins = {
        "edgeward-relay@.service.d/target.conf": "[Service]\nEnvironment=TARGET=php.example:9000\n",
        "edgeward-relay@.service.d/tunnel.conf": "[Service]\nNetworkNamespacePath=/run/netns/office\n",
        "edgeward-relay@.socket.d/group.conf": "[Socket]\nSocketGroup=root\n",
    }
    names = ["edgeward-relay@.service", "edgeward-relay@.socket"]
    assert units.sound(tmp_path, names, drop_ins) == ""


def test_every_system_call_of_a_relay_is_one_that_its_unit_allows(
    needs: Callable[[str], str], state_dir: Path
) -> None:
    port, front, trace = free_port(), free_port(), state_dir / "trace"
    strace = [needs("strace"), "-DD", "-f", "-q", "-o", trace, "-e", "inject=prlimit64:error=EPERM"]
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
    used = units.used(trace)
    assert {"splice", "epoll_wait", "accept4"} <= used
    assert used - units.allowed(SERVICE) - units.REFUSED_AND_NOT_MISSED == set()


def test_a_relay_to_a_name_needs_no_memory_that_is_written_and_run(state_dir: Path) -> None:
    port, front = free_port(), free_port()
    with name_server() as dns, answering(port, b"hello"):
        dns.put("backend.example", "A", 1, "127.0.0.1")
        to = ["--to", f"backend.example:{port}", "--listen", front, "--resolver", dns.address]
        with running([sys.executable, units.HELD, sys.executable, "-m", "edgeward.relay", *to]) as process:
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
