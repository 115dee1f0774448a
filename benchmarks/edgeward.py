"""The whole of Edgeward, as `edgeward up` runs it, with one worker in Envoy."""

from __future__ import annotations

import json
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers import Contender
from benchmarks.processes import Process, accepts, free_ports, until

NODE = "bench"
ON_DEMAND = "ondemand.bench.example"
"""Any name one label below it gets its certificate at the first handshake."""
EAGER = "eager.bench.example"
_SOURCE = "file:bench-names.yaml"


class Edgeward(Contender):
    """A running installation; names below ``ON_DEMAND`` lead to the backend."""

    def __init__(self, label: str, process: Process, port: int, state: Path, api: int) -> None:
        super().__init__(label, process, port, f"site.{ON_DEMAND}")
        self.state = state
        self.api = api
        self._base = f"https://127.0.0.1:{api}"

    @property
    def ca(self) -> str:
        return str(self.state / "ca/root.pem")

    def by_wildcard(self) -> Contender:
        """Give the same server with a host that only a wildcard route matches; peers have exact hosts."""
        label = f"{self.label}, wildcard host"
        return Contender(label, self.process, self.port, f"other.{ON_DEMAND}", self.parts)

    def started(self, seconds: float = 45.0) -> None:
        """Wait until it serves, and learn the process ids of its parts."""
        self.process.wait_for(self._is_ready, seconds, "edgeward being ready")
        programs = {p["name"]: p["pid"] for p in self._record("up.json")["programs"]}
        envoy = self._record("node/envoy.json")["pid"]
        self.parts = {"envoy": envoy, "node": programs["node"], "controller": programs["controller"]}

    def _is_ready(self) -> bool:
        return bool(self._record("up.json").get("ready")) and accepts(self.port)

    def _record(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.state / name).read_text()))
        except (OSError, ValueError):
            return {}

    def ask(self, method: str, path: str, body: Any = None, timeout: float = 60.0) -> Any:
        """Ask the REST API as admin; raises RuntimeError with what it says against it."""
        request = urllib.request.Request(
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "authorization": f"Bearer {(self.state / 'admin.token').read_text().strip()}",
                "content-type": "application/json",
            },
        )
        context = ssl.create_default_context(cafile=self.ca)
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.read()[:500].decode()}") from error

    def declare(self, names: Sequence[str], timeout: float) -> None:
        """Declare eager domains, and wait until the node has all their certificates on its disk."""
        domains = [{"name": n} for n in names]
        document = {"version": 1, "domains": domains}
        body = {"source": _SOURCE, "document": document}
        self.ask("POST", "/v1/apply", body, timeout)
        goal = len(names)
        until(lambda: self.certificates() >= goal, timeout, f"{goal} certificates", self.process.check)
        until(lambda: self._held_on_disk() >= goal, 60, "copying them to the node", self.process.check)

    def certificates(self) -> int:
        return int(self.ask("GET", "/v1/status")["certificates"]["total"])

    def cache(self) -> dict[str, Any]:
        return dict(self.ask("GET", f"/v1/nodes/{NODE}/cache"))

    def _held_on_disk(self) -> int:
        return int(self.cache()["tiers"]["disk"]["size"])


@contextmanager
def edgeward(
    directory: Path,
    backend: int,
    access_log: str = "off",
    more: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Edgeward]:
    """Run one; with its access log on, that goes where the program's output goes, as by default.

    ``more`` is declared beside; what it says of ``listen`` is put into that.
    """
    directory.mkdir()
    port, api = free_ports(2)
    config = directory / "edgeward.yaml"
    declared = _declaration(port, api, backend, access_log)
    rest = dict(more or {})
    declared["listen"] |= rest.pop("listen", {})
    config.write_text(json.dumps(declared | rest))
    state = directory / "state"
    argv: list[str | Path] = [
        sys.executable, "-P", "-m", "edgeward.cli", "up", "--name", NODE,
        "--config", config, "--state-dir", state, "--drain-seconds", "0",
    ]  # fmt: skip
    environment = {"EDGEWARD_CONCURRENCY": "1", "EDGEWARD_USER": "root", **(env or {})}
    process = Process(argv, directory / "edgeward.log", environment, patience=25.0)
    label = "Edgeward" if access_log == "off" else "Edgeward, access log"
    running = Edgeward(label, process, port, state, api)
    try:
        running.started()
        yield running
    finally:
        process.stop()


def _declaration(port: int, api: int, backend: int, access_log: str) -> dict[str, Any]:
    return {
        "version": 1,
        "listen": {
            "https": f"127.0.0.1:{port}",
            "api": f"127.0.0.1:{api}",
            "access_log": access_log,
        },
        "domains": [{"name": f"*.{ON_DEMAND}", "on_demand": True}],
        "services": [{"name": "site", "backends": [f"http://127.0.0.1:{backend}"]}],
        "routes": [
            {"name": "site", "hosts": [f"site.{ON_DEMAND}"], "service": "site"},
            {"name": "others", "hosts": [f"*.{ON_DEMAND}"], "service": "site"},
        ],
    }
