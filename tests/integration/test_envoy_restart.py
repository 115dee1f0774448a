"""`edgeward envoy restart`, as an operator types it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.node_rig import Rig, rig


@pytest.fixture
def edge(state_dir: Path) -> Iterator[Rig]:
    with rig(state_dir) as made:
        yield made


def restart(state_dir: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "edgeward.cli", "envoy", "restart", "--state-dir", str(state_dir)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def test_it_says_who_took_over_and_for_how_long_the_old_one_stays(edge: Rig) -> None:
    edge.start("--restart-drain-seconds", "30")
    old = edge.envoy_pid()
    done = restart(edge.state_dir)

    assert done.returncode == 0, done.stderr
    assert f"Envoy {edge.envoy_pid()} has taken over from {old}, in " in done.stdout
    assert "1 Envoy lets its visitors finish, for 30 s at most" in done.stdout


def test_it_says_why_nobody_took_over(edge: Rig) -> None:
    edge.start()
    old = edge.envoy_pid()
    edge.kill_node()
    (edge.node_dir / "xds.sock").unlink(missing_ok=True)
    done = restart(edge.state_dir)

    assert done.returncode == 1
    assert "edgeward: Envoy was not restarted: the node does not answer" in done.stderr
    assert "the one before goes on" in done.stderr
    assert edge.envoy_pid() == old


def test_without_a_launcher_it_says_so(state_dir: Path) -> None:
    done = restart(state_dir)

    assert done.returncode == 1
    assert f"no launcher of Envoy runs on {state_dir}" in done.stderr
