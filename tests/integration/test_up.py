"""`edgeward up` as people run it: everything comes up, goes on whatever dies, follows its file, ends cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from edgeward.cli.demo.visit import Failed
from tests.integration.processes import is_alive, running, until
from tests.integration.up_rig import EAGER, ON_DEMAND, Edge, started


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    """One for all tests that leave it serving."""
    with started() as found:
        yield found


async def test_it_serves_and_ends_without_a_trace() -> None:
    with started() as edge:
        await edge.serves(EAGER)
        assert await edge.visit(ON_DEMAND) == 200
        pids = edge.pids()
        edge.process.send(signal.SIGQUIT)

        assert edge.process.wait(30) == 0
        assert not any(map(is_alive, pids))
        with pytest.raises(Failed):
            await edge.visit(EAGER)


async def test_nobody_notices_the_death_of_the_controller(edge: Edge) -> None:
    await edge.serves(EAGER)
    await edge.serves(ON_DEMAND)
    envoy, node, restarts = edge.envoy(), edge.program("node")["pid"], edge.restarts("controller")
    async with edge.visited(EAGER, ON_DEMAND):
        os.kill(edge.program("controller")["pid"], signal.SIGKILL)
        await edge.serves("bob.customers.example")

    assert (edge.envoy(), edge.program("node")["pid"]) == (envoy, node)
    assert edge.restarts("controller") == restarts + 1


async def test_nobody_notices_the_death_of_the_node(edge: Edge) -> None:
    await edge.serves(EAGER)
    await edge.serves(ON_DEMAND)
    envoy, restarts = edge.envoy(), edge.restarts("node")
    async with edge.visited(EAGER, ON_DEMAND):
        os.kill(edge.program("node")["pid"], signal.SIGKILL)
        await edge.serves("bob.customers.example")

    assert edge.envoy() == envoy
    assert edge.restarts("node") == restarts + 1


async def test_a_killed_envoy_serves_again_by_itself(edge: Edge) -> None:
    await edge.serves(ON_DEMAND)
    launcher, envoy = edge.program("envoy")["pid"], edge.envoy()
    os.kill(envoy, signal.SIGKILL)

    await edge.serves(ON_DEMAND)
    assert edge.envoy() != envoy
    assert edge.program("envoy")["pid"] == launcher


async def test_a_killed_launcher_takes_envoy_with_it_and_both_come_back(edge: Edge) -> None:
    await edge.serves(EAGER)
    envoy = edge.envoy()
    os.kill(edge.program("envoy")["pid"], signal.SIGKILL)

    until(lambda: not is_alive(envoy), 10.0, "the end of Envoy")
    await edge.serves(EAGER)


def test_nothing_outlives_a_killed_edgeward_up() -> None:
    with started() as edge:
        pids = edge.pids()
        edge.process.send(signal.SIGKILL)

        until(lambda: not any(map(is_alive, pids)), 30.0, "the end of everything")


@pytest.mark.parametrize("how", ["SIGHUP", "a changed file alone"])
async def test_a_changed_file_is_in_force_without_a_restart(edge: Edge, how: str) -> None:
    await edge.serves(EAGER)
    pids, name = edge.pids(), f"{how.replace(' ', '-').lower()}.example"
    async with edge.visited(EAGER):
        edge.declare(
            domains=[*edge.declared["domains"], {"name": name}],
            routes=[*edge.declared["routes"], {"hosts": [name], "service": "shop"}],
        )
        if how == "SIGHUP":
            edge.process.send(signal.SIGHUP)
        await edge.serves(name)

    assert edge.pids() == pids


async def test_a_broken_file_changes_nothing(edge: Edge) -> None:
    await edge.serves(EAGER)
    restarts = edge.restarts("controller")
    edge.config.write_text("version: 1\ndomains: [{name: nonsense}]\n")
    edge.process.send(signal.SIGHUP)
    await asyncio.to_thread(until, lambda: "nonsense" in edge.process.output(), what="the refusal")

    await edge.serves(EAGER)
    assert edge.restarts("controller") == restarts
    edge.declare()


async def test_a_second_one_on_the_same_state_is_refused(edge: Edge) -> None:
    argv = [sys.executable, "-P", "-m", "edgeward.cli", "up", "-c", edge.config, "--state-dir", edge.state]
    with running(argv) as second:
        assert second.wait(30) == 2
        assert f"another `edgeward up` (pid {edge.process.pid}) runs on" in second.output()

    await edge.serves(EAGER)
