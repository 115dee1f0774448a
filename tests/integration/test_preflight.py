"""`edgeward up` before it starts anything: one sentence with the remedy, and exit code 2."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.processes import Running

_MINIMAL = """\
version: 1
listen: {{http: "127.0.0.1:{http}", https: "127.0.0.1:{https}", api: "127.0.0.1:{api}"}}
"""


@pytest.fixture
def config(state_dir: Path, free_port: Callable[[], int]) -> Path:
    path = state_dir / "edgeward.yaml"
    path.write_text(_MINIMAL.format(http=free_port(), https=free_port(), api=free_port()))
    return path


def refusal(running: Running, config: Path, state: Path, *more: str) -> str:
    """Run `edgeward up`, see that it exits with 2 and shows no traceback, and give what it said."""
    argv = [sys.executable, "-P", "-m", "edgeward.cli", "up", "-c", config, "--state-dir", state, *more]
    with running(argv) as process:
        assert process.wait() == 2
        assert "Traceback" not in process.output()
        return process.output()


def test_a_missing_file_is_named(running: Running, state_dir: Path) -> None:
    said = refusal(running, state_dir / "no.yaml", state_dir / "s")

    assert f"{state_dir}/no.yaml: No such file or directory; name a file this user may read" in said


def test_every_problem_of_the_file_is_shown_with_its_line(
    running: Running, config: Path, state_dir: Path
) -> None:
    config.write_text(
        config.read_text() + "domains:\n  - {name: 10.0.0.1}\nservices:\n  - {name: a, backends: [ftp://x]}\n"
    )
    said = refusal(running, config, state_dir / "s")

    assert f"{config}:4: " in said and "is an IP address" in said
    assert f"{config}:6: " in said and "write a backend as" in said


def test_a_route_to_a_service_that_does_not_exist_is_shown_with_its_line(
    running: Running, config: Path, state_dir: Path
) -> None:
    config.write_text(
        config.read_text()
        + "domains:\n  - {name: a.example}\nroutes:\n  - {hosts: [a.example], service: nowhere}\n"
    )
    said = refusal(running, config, state_dir / "s")

    assert f"{config}:6: " in said and "nowhere" in said


def test_a_taken_port_is_named_with_the_program_that_holds_it(
    running: Running, config: Path, state_dir: Path, free_port: Callable[[], int]
) -> None:
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        config.write_text(_MINIMAL.format(http=free_port(), https=port, api=free_port()))

        said = refusal(running, config, state_dir / "s")

    assert f"listen.https: 127.0.0.1:{port} is taken by " in said
    assert f"(pid {os.getpid()}); end that program or choose another port" in said


def test_an_address_from_the_environment_counts(
    running: Running, config: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWARD_LISTEN__HTTPS", "192.0.2.1:443")

    assert "listen.https: 192.0.2.1:443: this host has no such address" in refusal(
        running, config, state_dir / "s"
    )


def test_an_address_of_another_host_is_refused(
    running: Running, config: Path, state_dir: Path, free_port: Callable[[], int]
) -> None:
    config.write_text(f'version: 1\nlisten: {{api: "192.0.2.1:{free_port()}"}}\n')

    assert "this host has no such address" in refusal(running, config, state_dir / "s")


def test_a_directory_that_cannot_be_made_is_named(running: Running, config: Path) -> None:
    assert "/proc/edgeward" in refusal(running, config, Path("/proc/edgeward"))


def test_a_path_too_long_for_sockets_is_refused(running: Running, config: Path, state_dir: Path) -> None:
    assert "bytes too long for Unix sockets" in refusal(running, config, state_dir / ("x" * 100))


def test_a_directory_others_may_read_is_refused(running: Running, config: Path, state_dir: Path) -> None:
    open_to_all = state_dir / "open"
    open_to_all.mkdir(mode=0o755)
    (open_to_all / "something").touch()

    assert f"run chmod 700 {open_to_all}" in refusal(running, config, open_to_all)


def test_a_missing_envoy_is_named(running: Running, config: Path, state_dir: Path) -> None:
    said = refusal(running, config, state_dir / "s", "--envoy", "/nonexistent/envoy")

    assert "/nonexistent/envoy is not a program this user may run" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_low_port_names_its_remedies(running: Running, free_port: Callable[[], int]) -> None:
    code = (
        "import os\n"
        "from edgeward.cli.tree.sockets import why_not\n"
        "from edgeward.gateway.model import Address\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(why_not(Address(host='127.0.0.1', port=81)))"
    )
    with running([sys.executable, "-c", code]) as process:
        assert process.wait() == 0
        said = process.output()

    if "None" not in said:  # somewhere ip_unprivileged_port_start is 0 already
        assert "choose a higher port, run sysctl net.ipv4.ip_unprivileged_port_start=81 as root" in said
        assert "CAP_NET_BIND_SERVICE" in said
