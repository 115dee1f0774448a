"""A node, its Envoy and a controller as real processes on loopback, and visitors who shake hands with them."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests import ports
from tests.integration.fake_controller import FakeController, fingerprint
from tests.integration.processes import Process, running, until


class Rig:
    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.node_dir = state_dir / "node"
        self.node_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.controller = FakeController(state_dir)
        self.port = ports.free_port()
        self.stack = ExitStack()
        self.node: Process | None = None
        self.envoy: Process | None = None

    # --- processes ----------------------------------------------------------------------------

    def write_identity(self) -> None:
        path = self.node_dir / "identity.json"
        path.write_text(json.dumps(self.controller.identity("edge-1")))
        path.chmod(0o600)

    def start_node(self, *arguments: str, **env: str) -> Process:
        argv = [sys.executable, "-m", "edgeward.node", "--state-dir", str(self.state_dir), *arguments]
        self.node = self.stack.enter_context(running(argv, output=self.state_dir / "node.log", env=env))
        return self.node

    def start_envoy(self, *arguments: str) -> Process:
        argv = [
            sys.executable, "-m", "edgeward.launcher", "--state-dir", str(self.state_dir),
            "--concurrency", "1", "--drain-seconds", "0.1", *arguments,
        ]  # fmt: skip
        self.envoy = self.stack.enter_context(running(argv, output=self.state_dir / "envoy.log"))
        return self.envoy

    def kill_node(self) -> None:
        assert self.node is not None
        self.node.send(signal.SIGKILL)
        self.node.wait()

    def start(self, *envoy: str) -> None:
        """Controller, node and Envoy, with an HTTPS listener, serving; ``envoy``: the launcher's options."""
        self.controller.declare(https=[f"127.0.0.1:{self.port}"])
        self.controller.start()
        self.write_identity()
        self.start_node()
        self.start_envoy(*envoy)
        self.wait_ready()

    def wait_ready(self, timeout: float = 20.0) -> None:
        until(lambda: self.ready() and self.listening(), timeout, "the edge's readiness")

    def ready(self) -> bool:
        try:
            return self.page("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def listening(self) -> bool:
        with socket.socket() as visitor:
            return visitor.connect_ex(("127.0.0.1", self.port)) == 0

    def page(self, path: str) -> httpx.Response:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.node_dir / "node.sock"))) as client:
            return client.get(f"http://node{path}", timeout=30)

    def metric(self, name: str) -> dict[str, float]:
        """Give a metric's samples: labels as written → value."""
        samples = {}
        for line in self.page("/metrics").text.splitlines():
            if line.startswith(name) and line[len(name)] in "{ ":
                labels, _, value = line[len(name) :].rpartition(" ")
                samples[labels] = float(value)
        return samples

    def admin(self, path: str) -> str:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.node_dir / "admin.sock"))) as client:
            return client.get(f"http://envoy{path}", timeout=30).text

    def stat(self, name: str) -> int:
        text = self.admin(f"/stats?filter=^{name}$")
        return int(text.rpartition(": ")[2]) if text.strip() else 0

    def envoy_pid(self) -> int:
        return int(self.envoy_record()["pid"])

    def envoy_record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.node_dir / "envoy.json").read_text())
        return found

    def hot_restart(self, timeout: float = 20.0) -> dict[str, Any]:
        """Ask for a restart of Envoy and give what came of it."""
        assert self.envoy is not None
        answered = self.envoy_record()["answered"]
        self.envoy.send(signal.SIGHUP)
        until(lambda: self.envoy_record()["answered"] > answered, timeout, "the answer to SIGHUP")
        found: dict[str, Any] = self.envoy_record()["last_restart"]
        return found

    def log(self) -> list[dict[str, Any]]:
        assert self.node is not None
        lines = (self.state_dir / "node.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    # --- visitors -----------------------------------------------------------------------------

    def visit(self, name: str | None, timeout: float = 12.0) -> str | None:
        """Shake hands under a name; gives the certificate's fingerprint, None where it is refused."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout) as plain,
                context.wrap_socket(plain, server_hostname=name) as secure,
            ):
                der = secure.getpeercert(binary_form=True)
                assert der is not None
                return fingerprint(der)
        except ssl.SSLError:
            return None
        except ConnectionResetError:
            return None

    def served(self, name: str) -> bool:
        return self.visit(name) is not None

    def rss_mb(self, pid: int) -> float:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def assert_rests(*pids: int) -> None:
    """See that there come two seconds in which each takes less than half a core: who spins never rests."""

    def rested() -> bool:
        before, began = [cpu_seconds(pid) for pid in pids], time.monotonic()
        time.sleep(2)
        most = (time.monotonic() - began) / 2
        return all(cpu_seconds(pid) - used < most for pid, used in zip(pids, before, strict=True))

    until(rested, 10, "a rest of all")


@contextmanager
def rig(state_dir: Path) -> Iterator[Rig]:
    made = Rig(state_dir)
    try:
        with made.stack:
            yield made
    finally:
        made.controller.stop()
        for name in ("node.log", "envoy.log"):  # pytest shows it where the test failed
            path = state_dir / name
            lines = path.read_text(errors="replace").splitlines()[-40:] if path.exists() else []
            print(f"--- {name}", *lines, sep="\n")


def within(seconds: float, condition: Any, what: str) -> float:
    """Wait until the condition holds; gives how long it took."""
    began = time.monotonic()
    until(condition, seconds, what)
    return time.monotonic() - began
