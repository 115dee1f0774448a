"""A hundred thousand domains over a thousand routes and services: applying, changing, restarting, memory."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.edgeward import Edgeward
from benchmarks.processes import rss_mb, until
from benchmarks.table import Goal, Row
from benchmarks.visits import Visits, visit

_SETS = 1000
_SUFFIX = "scale.bench.example"
_SOURCE = "file:scale.json"


def measure(
    edgeward: Edgeward, directory: Path, backend: int, domains: int, resident: int, changes: int
) -> list[Row]:
    """Declare ``domains``, the first ``resident`` of them eager and visited, then make ``changes``."""
    file = directory / "scale.json"
    file.write_text(json.dumps(_document(domains, resident, backend)))
    what = f"{domains:,} domains, {_SETS:,} routes and services"
    rows = [
        _apply(what, "applied, and in force on the node", edgeward, file, 60.0, wait=True),
        _apply(what, "applied again, nothing to change", edgeward, file, 5.0, wait=False),
    ]
    names = [_name(number) for number in range(resident)]
    until(lambda: edgeward.certificates() >= resident, 300, "eager certificates", edgeward.process.check)
    until(lambda: _on_disk(edgeward) >= resident, 60, "copying them", edgeward.process.check)
    told = visit(Visits(edgeward.port, names))
    if told.failed:
        raise RuntimeError(f"{told.failed} of {resident} names were not served: {told.first_failure}")
    rows += _changed(what, edgeward, changes)
    rows += _memory(what, edgeward, resident)
    rows.append(_node_killed(what, edgeward, names[0]))
    return rows


def _document(domains: int, resident: int, backend: int) -> dict[str, Any]:
    named = [_name(number) for number in range(domains)]
    return {
        "version": 1,
        "domains": [{"name": n, "on_demand": i >= resident} for i, n in enumerate(named)],
        "services": [
            {"name": f"scale-{i}", "backends": [f"http://127.0.0.1:{backend}"]} for i in range(_SETS)
        ],
        "routes": [
            {"name": f"scale-{i}", "hosts": named[i::_SETS], "service": f"scale-{i}"} for i in range(_SETS)
        ],
    }


def _name(number: int) -> str:
    return f"n{number}.{_SUFFIX}"


def _apply(what: str, how: str, edgeward: Edgeward, file: Path, most: float, *, wait: bool) -> Row:
    argv = [sys.executable, "-P", "-m", "edgeward.cli", "apply", "-f", str(file)]
    argv += ["--state-dir", str(edgeward.state), *(["--wait", "--timeout", "120"] if wait else [])]
    before = edgeward.cpu()
    began = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    took = time.monotonic() - began
    if done.returncode != 0:
        raise RuntimeError(f"apply: {(done.stderr or done.stdout)[-500:]}")
    used = edgeward.cpu()["controller"] - before["controller"]
    note = f"controller {used:.1f} s CPU; {done.stdout.strip().splitlines()[-1]}"
    return Row(what, how, took, "s", note, (Goal(took, most),))


def _changed(what: str, edgeward: Edgeward, changes: int) -> list[Row]:
    """Declare one more domain at a time with a route of its own, until a visitor gets its page."""
    waits = []
    before = edgeward.cpu()
    admin = Admin(edgeward)
    for number in range(changes):
        name = f"more{number}.{_SUFFIX}"
        document = {
            "version": 1,
            "domains": [{"name": name, "on_demand": True}],
            "routes": [{"hosts": [name], "service": "scale-0"}],
        }
        began = time.monotonic()
        admin.post("/v1/apply", {"source": _SOURCE, "document": document, "keep": True})
        until_served(edgeward.port, name)
        waits.append(1e3 * (time.monotonic() - began))
        time.sleep(0.05)
    after = edgeward.cpu()
    waits.sort()
    p50, p99 = waits[len(waits) // 2], waits[min(len(waits) - 1, int(0.99 * len(waits)))]
    parts = ("controller", "node", "envoy")
    cpu = ", ".join(f"{p} {1e3 * (after[p] - before[p]) / changes:.0f}" for p in parts)
    return [
        Row(what, "one domain more, served, p50", p50, "ms", f"{changes} changes; ms of CPU each: {cpu}"),
        Row(what, "one domain more, served, p99", p99, "ms", goals=(Goal(p99, 200.0),)),
    ]


def _memory(what: str, edgeward: Edgeward, resident: int) -> list[Row]:
    most = {"envoy": 350.0, "controller": 400.0, "node": 300.0}
    found = []
    for part, limit in most.items():
        used = rss_mb(edgeward.parts[part])
        note = f"{resident:,} certificates resident" if part == "envoy" else ""
        found.append(Row(what, f"memory, {part}", used, "MB", note, (Goal(used, limit),)))
    return found


def _node_killed(what: str, edgeward: Edgeward, evicted: str) -> Row:
    """Kill -9 the node, and wait until a name that Envoy does not hold is served again."""
    began = time.monotonic()
    os.kill(edgeward.parts["node"], signal.SIGKILL)
    until_served(edgeward.port, evicted.upper())  # another spelling is another secret: the node is asked
    took = time.monotonic() - began
    edgeward.started()
    return Row(what, "kill -9 of the node, served by it again", took, "s", goals=(Goal(took, 3.0),))


def _on_disk(edgeward: Edgeward) -> int:
    return int(edgeward.cache()["tiers"]["disk"]["size"])


class Admin:
    """One connection to the API: a measured change is not to pay for a handshake."""

    def __init__(self, edgeward: Edgeward) -> None:
        self._token = (edgeward.state / "admin.token").read_text().strip()
        context = ssl.create_default_context(cafile=edgeward.ca)
        self._connection = http.client.HTTPSConnection("127.0.0.1", edgeward.api, context=context, timeout=60)

    def post(self, path: str, body: Any) -> Any:
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        self._connection.request("POST", path, json.dumps(body), headers)
        answer = self._connection.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"POST {path}: {answer.status} {told[:300].decode()}")
        return json.loads(told)


def until_served(port: int, name: str, seconds: float = 30.0, pause: float = 0.004) -> None:
    """Visit until the page comes; raises TimeoutError."""
    end = time.monotonic() + seconds
    while not served(port, name):
        if time.monotonic() > end:
            raise TimeoutError(f"{name} was not served within {seconds:g} s")
        time.sleep(pause)


def served(port: int, name: str) -> bool:
    """Tell whether https://``name``/ on this port gives the backend's page: Caddy says 200 to any host."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(tls)
            answer.begin()
            return answer.status == 200 and b"It works." in answer.read()
    except (OSError, http.client.HTTPException):
        return False
