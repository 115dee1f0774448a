"""Ten nodes on one machine: when a change is everywhere, and what a controller's restart costs."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.edgeward import Edgeward
from benchmarks.processes import Process, cpu_seconds, free_ports, rss_mb, until
from benchmarks.scale import Admin, until_served
from benchmarks.table import Goal, Row

_SUFFIX = "fleet.bench.example"
_SOURCE = "file:fleet.json"


class Fleet:
    """Nodes beside the one of the installation, each with an Envoy on a port of its own."""

    def __init__(self, edgeward: Edgeward, directory: Path, ports: list[int]) -> None:
        self.edgeward = edgeward
        self.ports = [edgeward.port, *ports]
        self._states = [directory / f"node{index}" for index in range(len(ports))]
        self.nodes: list[Process] = []

    def names(self) -> list[str]:
        return [state.name for state in self._states]

    @property
    def logs(self) -> list[Path]:
        return [state.with_suffix(".log") for state in self._states]

    @contextmanager
    def running(self) -> Iterator[None]:
        made = self.edgeward.ask("POST", "/v1/tokens", {"name": "fleet", "role": "node", "project": "*"})
        pem = Path(self.edgeward.ca).read_text()
        first = pem[: pem.index("-----END CERTIFICATE-----") + 26]
        pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()
        url = f"https://127.0.0.1:{self.edgeward.api}"
        command = [sys.executable, "-P", "-m", "edgeward.cli"]
        with ExitStack() as stack:
            for state in self._states:
                state.mkdir(mode=0o700)
                own = ["--state-dir", state]
                join = ["--name", state.name, "--controller", url, "--ca-sha256", pin]
                env = {"EDGEWARD_JOIN": made["token"]}
                node = Process([*command, "node", *own, *join], state.with_suffix(".log"), env)
                stack.callback(node.stop)
                node.wait_for((state / "node/identity.json").exists, 30, f"{state.name} joining")
                self.nodes.append(node)
                one = ["--node-name", state.name, "--concurrency", "1", "--drain-seconds", "0"]
                log = state.with_suffix(".envoy.log")
                envoy = Process([*command, "envoy", *own, *one], log, patience=20)
                stack.callback(envoy.stop)
            yield


def measure(edgeward: Edgeward, directory: Path, count: int, changes: int) -> list[Row]:
    """Run ``count`` nodes, declare one domain after the other, then kill the controller."""
    ports = free_ports(count + 8)[8:][: count - 1]
    fleet = Fleet(edgeward, directory, ports)
    document = dict(edgeward.ask("GET", "/v1/export"))
    own = {name: {"https": f"127.0.0.1:{port}"} for name, port in zip(fleet.names(), ports, strict=True)}
    listen = {**document["listen"], "nodes": own}
    _apply(Admin(edgeward), {"listen": listen})
    with fleet.running():
        for port in fleet.ports:
            until_served(port, edgeward.name, 60)
        return [*_changes(fleet, changes), *_restart(fleet)]


def _apply(admin: Admin, more: dict[str, object]) -> int:
    document = {"version": 1, **more}
    body = {"source": _SOURCE, "document": document, "keep": True, "take_over": True}
    return int(admin.post("/v1/apply", body)["revision"])


def _changes(fleet: Fleet, changes: int) -> list[Row]:
    waits = []
    admin = Admin(fleet.edgeward)
    for number in range(changes):
        name = f"more{number}.{_SUFFIX}"
        domain = {"name": name, "on_demand": True}
        began = time.monotonic()
        _apply(admin, {"domains": [domain], "routes": [{"hosts": [name], "service": "site"}]})
        for port in fleet.ports:
            until_served(port, name)
        waits.append(1e3 * (time.monotonic() - began))
        time.sleep(0.1)
    waits.sort()
    what = f"a change, served by all of {len(fleet.ports)} nodes"
    p99 = waits[min(len(waits) - 1, int(0.99 * len(waits)))]
    return [
        Row(what, "p50", waits[len(waits) // 2], "ms", f"{changes} changes"),
        Row(what, "p99", p99, "ms", goals=(Goal(p99, 1000.0),)),
    ]


def _restart(fleet: Fleet) -> list[Row]:
    """Kill -9 the controller, and see what the nodes do once it is back."""
    edgeward = fleet.edgeward
    what = f"kill -9 of the controller with {len(fleet.ports)} nodes"
    until(lambda: _everywhere(edgeward), 60, "all nodes knowing all there is")
    before = {node.pid: cpu_seconds([node.pid]) for node in fleet.nodes}
    began = time.monotonic()
    os.kill(edgeward.parts["controller"], signal.SIGKILL)
    until(lambda: _connected(edgeward) == len(fleet.ports), 60, "all nodes following again")
    took = time.monotonic() - began
    edgeward.started()
    used = 1e3 * sum(cpu_seconds([n.pid]) - before[n.pid] for n in fleet.nodes) / len(fleet.nodes)
    taken = _taken(fleet)
    note = f"{used:.0f} ms of CPU a node; objects they read again: {taken}"
    memory = f"a node {max(rss_mb(n.pid) for n in fleet.nodes):.0f} MB at most"
    return [Row(what, "all nodes follow it again", took, "s", f"{note}; {memory}")]


def _everywhere(edgeward: Edgeward) -> bool:
    """Whether every node serves the last revision, that of the last certificate among them."""
    status = edgeward.ask("GET", "/v1/status")
    return all((node["report"] or {}).get("revision") == status["revision"] for node in status["nodes"])


def _connected(edgeward: Edgeward) -> int:
    try:
        nodes = edgeward.ask("GET", "/v1/nodes", timeout=5)["items"]
    except (OSError, RuntimeError, ValueError):
        return 0
    return sum(bool(node["connected"]) for node in nodes)


def _taken(fleet: Fleet) -> int:
    """Count what the nodes took in with the last connection, as their logs tell."""
    taken = 0
    for log in fleet.logs:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        last = [line for line in lines if line.get("event") == "caught up with the controller"][-1]
        taken += int(last["objects"]) + int(last["certificates"])
    return taken
