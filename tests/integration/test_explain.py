"""Each step of the way is broken for real, one after the other: explain finds it, and says what to do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.processes import running, until
from tests.integration.test_commands import Backend
from tests.ports import free_port

NAME, LAZY = "shop.example", "anna.customers.example"


class Edge:
    """A running `edgeward up`, asked over its API, and what is declared there by a file of its own."""

    def __init__(self, state: Path, https: int, backend: int) -> None:
        self.state, self.https, self.backend = state, https, backend
        self.http = httpx.Client()

    def connect(self, api: int) -> None:
        context = ssl.create_default_context(cafile=self.state / "ca" / "root.pem")
        token = (self.state / "admin.token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        self.http = httpx.Client(
            base_url=f"https://127.0.0.1:{api}", verify=context, headers=headers, timeout=60
        )

    def declared(self) -> dict[str, Any]:
        return {
            "domains": [{"name": NAME}, {"name": "*.customers.example", "on_demand": True}],
            "services": [{"name": "shop", "backends": [f"http://127.0.0.1:{self.backend}"]}],
            "routes": [{"name": "all", "hosts": [NAME, "*.customers.example"], "service": "shop"}],
        }

    def apply(self, **changes: Any) -> None:
        """Declare everything with these changes, and wait until the node has taken it or refused."""
        document = {"version": 1, **self.declared(), **changes}
        answer = self.http.post("/v1/apply", json={"source": "file:test", "document": document})
        assert answer.status_code == 200, answer.text
        revision = answer.json()["revision"]
        self.http.get("/v1/wait", params={"revision": revision, "timeout": 30})

    def explained(self, what: str, **where: Any) -> dict[str, Any]:
        answer = self.http.get(f"/v1/explain/{what}", params=where)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert all(step["state"] != "broken" for step in found["steps"][:-1])
        return found

    def broken(self, what: str, **where: Any) -> tuple[str, str, str]:
        """Give step, cause and remedy."""
        found = self.explained(what, **where)
        last = found["steps"][-1]
        assert not found["well"] and last["state"] == "broken", found
        return last["step"], last["cause"], last["remedy"]

    def pid(self, program: str) -> int:
        programs = json.loads((self.state / "up.json").read_text())["programs"]
        return int(next(one["pid"] for one in programs if one["name"] == program))


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    directory = Path(tempfile.mkdtemp(prefix="ew-", dir="/tmp"))
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    https, api = free_port(), free_port()
    found = Edge(directory / "s", https, backend.server_address[1])
    config = directory / "edgeward.yaml"
    listen = {"https": f"127.0.0.1:{https}", "api": f"127.0.0.1:{api}"}
    config.write_text(yaml.safe_dump({"version": 1, "listen": listen}))
    argv = [sys.executable, "-P", "-m", "edgeward.cli", "up", "-c", config, "--state-dir", found.state]
    nobody = str(directory / "rootd.sock")  # one that runs on this host is none of ours
    environment = {"EDGEWARD_CONCURRENCY": "1", "EDGEWARD_ROOTD_SOCKET": nobody}
    with running([*argv, "--name", "edge1"], env=environment) as process:
        record = found.state / "up.json"
        until(
            lambda: not process.alive() or (record.exists() and json.loads(record.read_text())["ready"]), 40.0
        )
        assert process.alive()
        found.connect(api)
        found.apply()
        yield found
        found.http.close()
    backend.shutdown()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def well(edge: Edge) -> Edge:
    """Everything declared and served, as each test finds it."""
    edge.apply()
    until(lambda: edge.explained(NAME)["well"], 20.0)
    return edge


def test_a_visitor_is_served_step_by_step(well: Edge) -> None:
    found = well.explained(NAME, path="/cart")

    steps = {step["step"]: step for step in found["steps"]}
    assert list(steps) == [
        *("name", "listener", "policy", "certificate", "route", "service", "node", "envoy", "backend"),
    ]
    assert all(step["since"] for name, step in steps.items() if name not in ("name", "backend"))
    assert "edge1" in steps["certificate"]["detail"] and "/cart" in steps["route"]["detail"]


def test_a_name_nobody_declared_and_a_port_nobody_listens_on(well: Edge) -> None:
    step, cause, remedy = well.broken("nix.example")
    assert (step, "no domain covers nix.example" in cause, "under domains" in remedy) == (
        "policy",
        True,
        True,
    )

    step, cause, _ = well.broken(NAME, port=1)
    assert step == "listener" and str(well.https) in cause
    step, _, remedy = well.broken("-")
    assert step == "name" and "default_domain" in remedy


def test_a_name_that_is_deactivated_or_not_allowed(well: Edge) -> None:
    well.apply(withheld=[{"name": NAME}])
    assert well.broken(NAME)[0::2] == ("policy", f"edgeward certificates activate {NAME}")

    ask = f"http://127.0.0.1:{free_port()}/may"
    well.apply(domains=[{"name": NAME}, {"name": "*.customers.example", "on_demand": True, "ask": ask}])
    step, cause, _ = well.broken("never.customers.example")
    assert step == "policy" and ask in cause


def test_a_route_that_is_not_there_or_does_not_take_the_path(well: Edge) -> None:
    well.apply(routes=[{"name": "all", "hosts": [NAME], "paths": ["/api"], "service": "shop"}])
    step, cause, remedy = well.broken(NAME)
    assert step == "route" and "no route of shop.example takes GET /" in cause and "/api" in remedy

    well.apply(routes=[])
    assert "visitors get 404" in well.broken(NAME)[1]


def test_a_node_that_is_not_labelled_for_it(well: Edge) -> None:
    well.apply(domains=[{"name": NAME, "nodes": {"region": ["ch"]}}], routes=[])

    step, cause, remedy = well.broken(NAME)
    assert step == "route"  # which a visitor would not even reach
    route = {"name": "all", "hosts": [NAME], "service": "shop"}
    well.apply(domains=[{"name": NAME, "nodes": {"region": ["ch"]}}], routes=[route])
    step, cause, remedy = well.broken(NAME)
    assert step == "node" and "region: ch" in cause and "edgeward node label" in remedy


def test_a_backend_that_is_down_or_whose_name_leads_nowhere(well: Edge) -> None:
    dead = free_port()
    well.apply(services=[{"name": "shop", "backends": [f"http://127.0.0.1:{dead}"]}])
    step, cause, remedy = well.broken(NAME)
    assert step == "backend" and str(dead) in cause and "backends run" in remedy

    well.apply(services=[{"name": "shop", "backends": ["http://nowhere.invalid:80"]}])
    until(lambda: not well.explained(NAME)["well"], 20.0)
    step, cause, _ = well.broken(NAME)
    assert step == "backend" and "nowhere.invalid" in cause


@pytest.mark.slow
def test_a_node_that_hangs_is_told_to_be_away(well: Edge) -> None:
    pid = well.pid("node")
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: not well.explained("nodes/edge1")["well"], 30.0)
        step, cause, remedy = well.broken("nodes/edge1")
        assert step == "connected" and "serves what it knows" in cause and "log" in remedy
        assert well.broken(NAME)[0] == "node"
        assert well.broken("actions/backup")[0] == "node"
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: well.explained("nodes/edge1")["well"], 20.0)


def test_an_action_where_no_rootd_runs_and_a_node_that_never_joined(well: Edge) -> None:
    step, cause, remedy = well.broken("actions/backup")
    assert step == "rootd" and "no rootd" in cause and "edgeward rootd" in remedy
    assert well.broken("nodes/edge9")[0] == "joined"
    assert well.broken("actions/backup", node="edge9")[0] == "node"


SITE = {
    "name": "office",
    "peer": "203.0.113.9",
    "local_id": "edge.example",
    "local_networks": ["10.1.0.0/24"],
    "remote_networks": ["192.168.4.0/24"],
    "secret": "a pre-shared key of some length",
}


def test_a_tunnel_that_waits_and_the_backend_behind_it(well: Edge) -> None:
    service = {"name": "shop", "backends": ["vpn://office/192.168.4.10:8080"]}
    well.apply(vpn=[SITE], services=[service])

    step, cause, remedy = well.broken("vpn/office")
    assert step in ("node", "daemon") and cause and remedy
    steps = [one["step"] for one in well.explained(NAME)["steps"]]
    assert steps[steps.index("backend") :][:3] == ["backend", "relay", "tunnel"]
    # the node comes to say more of it in between
    until(lambda: well.broken("relays/office/192.168.4.10:8080")[1] == well.broken("vpn/office")[1], 20.0)
    assert well.broken("relays/office/192.168.4.11:8080")[0] == "service"
    well.apply(vpn=[{**SITE, "enabled": False}], services=[service])
    assert well.broken("vpn/office")[0::2] == ("tunnel", "set enabled: true")


def test_people_read_it_as_a_page(well: Edge) -> None:
    argv = [sys.executable, "-P", "-m", "edgeward.cli", "explain", f"https://{NAME}:{well.https}/cart"]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("EDGEWARD_")}
    environment = {**inherited, "EDGEWARD_STATE_DIR": str(well.state)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert f"{NAME} is served" in done.stdout
    assert all(word in done.stdout for word in ("listener", "certificate", "backend", " ago"))
