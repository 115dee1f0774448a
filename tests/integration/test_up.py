"""`edgeward up` as people run it: everything comes up, goes on whatever dies, follows its file, ends cleanly."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgeward.cli.demo.visit import Failed, Visitors, trusting, visit
from tests.integration.processes import Process, is_alive, running, until
from tests.ports import free_port

_EAGER, _ON_DEMAND = "shop.example", "anna.customers.example"


@dataclass
class Edge:
    """One `edgeward up` and what it says of itself."""

    process: Process
    state: Path
    config: Path
    declared: dict[str, Any]
    https: int

    def program(self, name: str) -> dict[str, Any]:
        record = json.loads((self.state / "up.json").read_text())
        return next(p for p in record["programs"] if p["name"] == name)

    def restarts(self, name: str) -> int:
        return int(self.program(name)["restarts"])

    def envoy(self) -> int:
        return int(json.loads((self.state / "node/envoy.json").read_text())["pid"])

    def pids(self) -> list[int]:
        return [self.program(name)["pid"] for name in ("controller", "node", "envoy")] + [self.envoy()]

    def declare(self, **more: Any) -> None:
        self.declared = {**self.declared, **more}
        draft = self.config.with_suffix(".draft")
        draft.write_text(json.dumps(self.declared))
        draft.replace(self.config)

    async def visit(self, name: str, path: str = "/") -> int:
        trust = trusting(self.state / "ca/root.pem")
        return (await visit(self.https, name, path, trust, timeout=10.0)).status

    async def serves(self, name: str, timeout: float = 20.0) -> None:
        """Wait until a name is served."""
        async with asyncio.timeout(timeout):
            while True:
                try:
                    if await self.visit(name) == 200:
                        return
                except Failed:
                    pass
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def visited(self, *names: str) -> AsyncIterator[None]:
        """Have 50 visitors a second come; none may be turned away."""
        visitors = Visitors(self.https, names, trusting(self.state / "ca/root.pem"), 50)
        coming = asyncio.create_task(visitors.keep_visiting())
        await asyncio.sleep(0.3)
        try:
            yield
        finally:
            coming.cancel()
            await visitors.finish()
        assert visitors.failures == []
        assert visitors.served > 10


@contextmanager
def started() -> Iterator[Edge]:
    """A backend, and `edgeward up` before it; ends when everything is ready."""
    http, https, api = (free_port() for _ in range(3))
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    declared = {
        "version": 1,
        "listen": {"http": f"127.0.0.1:{http}", "https": f"127.0.0.1:{https}", "api": f"127.0.0.1:{api}"},
        "domains": [{"name": _EAGER}, {"name": "*.customers.example", "on_demand": True}],
        "services": [{"name": "shop", "backends": [f"http://127.0.0.1:{backend.server_port}"]}],
        "routes": [{"name": "all", "hosts": [_EAGER, "*.customers.example"], "service": "shop"}],
    }
    with tempfile.TemporaryDirectory(prefix="ew-", dir="/tmp") as directory:
        config = Path(directory) / "edgeward.yaml"
        config.write_text(json.dumps(declared))
        state = Path(directory) / "s"
        argv = [sys.executable, "-P", "-m", "edgeward.cli", "up", "-c", config, "--state-dir", state]
        with running(argv, env={"EDGEWARD_CONCURRENCY": "1"}) as process:
            found = Edge(process, state, config, declared, https)
            until(lambda: _is_ready(found) or not process.alive(), 60.0, "readiness")
            assert process.alive()
            yield found
    backend.shutdown()
    backend.server_close()


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    """One for all tests that leave it serving."""
    with started() as found:
        yield found


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


def _is_ready(edge: Edge) -> bool:
    path = edge.state / "up.json"
    return path.exists() and bool(json.loads(path.read_text())["ready"])


async def test_it_serves_and_ends_without_a_trace() -> None:
    with started() as edge:
        await edge.serves(_EAGER)
        assert await edge.visit(_ON_DEMAND) == 200
        pids = edge.pids()
        edge.process.send(signal.SIGQUIT)

        assert edge.process.wait(30) == 0
        assert not any(map(is_alive, pids))
        with pytest.raises(Failed):
            await edge.visit(_EAGER)


async def test_nobody_notices_the_death_of_the_controller(edge: Edge) -> None:
    await edge.serves(_EAGER)
    await edge.serves(_ON_DEMAND)
    envoy, node, restarts = edge.envoy(), edge.program("node")["pid"], edge.restarts("controller")
    async with edge.visited(_EAGER, _ON_DEMAND):
        os.kill(edge.program("controller")["pid"], signal.SIGKILL)
        await edge.serves("bob.customers.example")

    assert (edge.envoy(), edge.program("node")["pid"]) == (envoy, node)
    assert edge.restarts("controller") == restarts + 1


async def test_nobody_notices_the_death_of_the_node(edge: Edge) -> None:
    await edge.serves(_EAGER)
    await edge.serves(_ON_DEMAND)
    envoy, restarts = edge.envoy(), edge.restarts("node")
    async with edge.visited(_EAGER, _ON_DEMAND):
        os.kill(edge.program("node")["pid"], signal.SIGKILL)
        await edge.serves("bob.customers.example")

    assert edge.envoy() == envoy
    assert edge.restarts("node") == restarts + 1


async def test_a_killed_envoy_serves_again_by_itself(edge: Edge) -> None:
    await edge.serves(_ON_DEMAND)
    launcher, envoy = edge.program("envoy")["pid"], edge.envoy()
    os.kill(envoy, signal.SIGKILL)

    await edge.serves(_ON_DEMAND)
    assert edge.envoy() != envoy
    assert edge.program("envoy")["pid"] == launcher


async def test_a_killed_launcher_takes_envoy_with_it_and_both_come_back(edge: Edge) -> None:
    await edge.serves(_EAGER)
    envoy = edge.envoy()
    os.kill(edge.program("envoy")["pid"], signal.SIGKILL)

    until(lambda: not is_alive(envoy), 10.0, "the end of Envoy")
    await edge.serves(_EAGER)


def test_nothing_outlives_a_killed_edgeward_up() -> None:
    with started() as edge:
        pids = edge.pids()
        edge.process.send(signal.SIGKILL)

        until(lambda: not any(map(is_alive, pids)), 30.0, "the end of everything")


@pytest.mark.parametrize("how", ["SIGHUP", "a changed file alone"])
async def test_a_changed_file_is_in_force_without_a_restart(edge: Edge, how: str) -> None:
    await edge.serves(_EAGER)
    pids, name = edge.pids(), f"{how.replace(' ', '-').lower()}.example"
    async with edge.visited(_EAGER):
        edge.declare(
            domains=[*edge.declared["domains"], {"name": name}],
            routes=[*edge.declared["routes"], {"hosts": [name], "service": "shop"}],
        )
        if how == "SIGHUP":
            edge.process.send(signal.SIGHUP)
        await edge.serves(name)

    assert edge.pids() == pids


async def test_a_broken_file_changes_nothing(edge: Edge) -> None:
    await edge.serves(_EAGER)
    restarts = edge.restarts("controller")
    edge.config.write_text("version: 1\ndomains: [{name: nonsense}]\n")
    edge.process.send(signal.SIGHUP)
    await asyncio.sleep(1.5)

    await edge.serves(_EAGER)
    assert edge.restarts("controller") == restarts
    assert "nonsense" in edge.process.output()
    edge.declare()


async def test_a_second_one_on_the_same_state_is_refused(edge: Edge) -> None:
    argv = [sys.executable, "-P", "-m", "edgeward.cli", "up", "-c", edge.config, "--state-dir", edge.state]
    with running(argv) as second:
        assert second.wait(30) == 2
        assert f"another `edgeward up` (pid {edge.process.pid}) runs on" in second.output()

    await edge.serves(_EAGER)
