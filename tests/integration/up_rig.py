"""`edgeward up` as people run it, before a backend of its own, and what it says of itself."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgeward.cli.demo.visit import Failed, Visitors, trusting, visit
from tests.integration.processes import Process, running, until
from tests.ports import free_port

EAGER, ON_DEMAND = "shop.example", "anna.customers.example"


@dataclass
class Edge:
    """One `edgeward up` and what it says of itself."""

    process: Process
    state: Path
    config: Path
    declared: dict[str, Any]
    https: int
    api: int

    def program(self, name: str) -> dict[str, Any]:
        record = json.loads((self.state / "up.json").read_text())
        return next(p for p in record["programs"] if p["name"] == name)

    def restarts(self, name: str) -> int:
        return int(self.program(name)["restarts"])

    def envoy(self) -> int:
        return int(json.loads((self.state / "node/envoy.json").read_text())["pid"] or 0)

    def pids(self) -> list[int]:
        return [self.program(name)["pid"] for name in ("controller", "node", "envoy")] + [self.envoy()]

    def declare(self, **more: Any) -> None:
        self.declared = {**self.declared, **more}
        draft = self.config.with_suffix(".draft")
        draft.write_text(json.dumps(self.declared))
        draft.replace(self.config)

    async def visit(self, name: str, path: str = "/") -> int:
        trust = trusting(self.state / "ca/root.pem")
        return (await visit(self.https, name, path, trust, timeout=30)).status

    async def serves(self, name: str, timeout: float = 60.0) -> None:
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
            async with asyncio.timeout(60):
                while visitors.served <= 10:
                    await asyncio.sleep(0.05)
        finally:
            coming.cancel()
            await visitors.finish()
        assert visitors.failures == []


@contextmanager
def started(more: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None) -> Iterator[Edge]:
    """A backend, and `edgeward up` before it; ``more`` is declared beside."""
    http, https, api = (free_port() for _ in range(3))
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    declared = {
        "version": 1,
        "listen": {"http": f"127.0.0.1:{http}", "https": f"127.0.0.1:{https}", "api": f"127.0.0.1:{api}"},
        "domains": [{"name": EAGER}, {"name": "*.customers.example", "on_demand": True}],
        "services": [{"name": "shop", "backends": [f"http://127.0.0.1:{backend.server_port}"]}],
        "routes": [{"name": "all", "hosts": [EAGER, "*.customers.example"], "service": "shop"}],
        **(more or {}),
    }
    with tempfile.TemporaryDirectory(prefix="ew-", dir="/tmp") as directory:
        config = Path(directory) / "edgeward.yaml"
        config.write_text(json.dumps(declared))
        state = Path(directory) / "s"
        argv = [sys.executable, "-P", "-m", "edgeward.cli", "up", "-c", config, "--state-dir", state]
        with running(argv, env={"EDGEWARD_CONCURRENCY": "1", **(env or {})}) as process:
            found = Edge(process, state, config, declared, https, api)
            until(lambda: _is_ready(found) or not process.alive(), 60.0, "readiness")
            assert process.alive()
            yield found
    backend.shutdown()
    backend.server_close()


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
