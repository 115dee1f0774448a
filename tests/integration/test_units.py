"""Edgeward's systemd units: judged by systemd's own tools, and the programs held to what they allow."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration import units
from tests.integration.controller_setup import Controller
from tests.integration.processes import running, until
from tests.ports import free_port

PROGRAMS = {"controller": 1.5, "node": 1.6, "envoy": 1.6}
_TRACED = {"controller": "edgeward.controller", "node": "edgeward.node", "envoy": "edgeward.launcher"}
ONLY_OF_ROOT = {"fchown"}
"""SQLite gives its files to the database's owner where root runs it; the units' user is not root."""
_DECLARED = """version: 1
listen: {{http: [], https: ["127.0.0.1:{port}"]}}
domains: [{{name: shop.example}}, {{name: "*.c.example", on_demand: true}}]
routes: [{{hosts: [shop.example, "*.c.example"], redirect: {{host: elsewhere.example}}}}]
"""


@pytest.fixture(autouse=True)
def tools(needs: Callable[[str], str]) -> None:
    needs("systemd-analyze")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_exposed_to_no_more_than_said(program: str) -> None:
    assert units.exposure(units.UNITS / f"edgeward-{program}.service") <= PROGRAMS[program]


def test_the_units_are_sound(tmp_path: Path) -> None:
    assert units.sound(tmp_path, [f"edgeward-{program}.service" for program in PROGRAMS]) == ""


def test_only_envoy_has_a_right_and_it_is_that_to_low_ports() -> None:
    rights = {p: _values(p, "AmbientCapabilities") for p in PROGRAMS}
    assert rights == {"controller": [""], "node": [""], "envoy": ["CAP_NET_BIND_SERVICE"]}
    assert {p: _values(p, "CapabilityBoundingSet") for p in PROGRAMS} == rights


def test_no_unit_takes_another_along_when_it_is_restarted() -> None:
    for program in PROGRAMS:
        for tie in ("Requires", "BindsTo", "PartOf", "Requisite"):
            assert _values(program, tie) == []


def _values(program: str, name: str) -> list[str]:
    lines = (units.UNITS / f"edgeward-{program}.service").read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


@pytest.mark.timeout(240)
def test_all_of_it_works_within_what_the_units_allow(state_dir: Path, needs: Callable[[str], str]) -> None:
    port = free_port()
    state, traces = state_dir / "s", {name: state_dir / f"{name}.trace" for name in _TRACED}
    controller = Controller(state, ("--local-node", "edge"))
    controller.declare(_DECLARED.format(port=port))

    def held(name: str) -> tuple[str, ...]:
        return units.held(sys.executable, traces[name], needs)

    with ExitStack() as stack:
        stack.enter_context(controller.start(wrapper=held("controller")))
        for name in ("node", "envoy"):
            argv = [*held(name), sys.executable, "-m", _TRACED[name], "--state-dir", str(state)]
            stack.enter_context(running(argv, output=state_dir / f"{name}.log"))
        root = state / "ca" / "root.pem"
        for name in ("shop.example", "anna.c.example"):
            until(lambda name=name: _visit(port, name, root), 60, f"{name} served")
    for name, trace in traces.items():
        used = units.used(trace)
        assert {"execve", "openat"} <= used
        allowed = units.allowed(units.UNITS / f"edgeward-{name}.service")
        assert used - allowed - units.REFUSED_AND_NOT_MISSED - ONLY_OF_ROOT == set(), name


def _visit(port: int, name: str, root: Path) -> bool:
    """Whether a visitor who trusts our authority gets an answer."""
    try:
        context = ssl.create_default_context(cafile=str(root))
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            secure.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            return secure.recv(20).startswith(b"HTTP/1.1 30")
    except OSError:
        return False


def test_install_writes_them_for_this_installation_and_keeps_what_it_replaces(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "edgeward.cli", "install", "systemd", "--root", str(tmp_path)]

    def install(*more: str) -> str:
        return subprocess.run([*argv, *more], check=True, capture_output=True, text=True, timeout=60).stdout

    unit = tmp_path / "etc/systemd/system/edgeward-node.service"
    assert "new " in install("--dry-run")
    assert not unit.exists()
    assert "written" in install()
    assert f"ExecStart={Path(sys.executable).parent}/edgeward node" in unit.read_text()
    assert "written" not in install()
    unit.write_text("mine")
    install()
    assert unit.with_name("edgeward-node.service.before").read_text() == "mine"
    assert (tmp_path / "etc/sysusers.d/edgeward.conf").exists()
