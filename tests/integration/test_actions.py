"""From the API through controller and node to rootd, and back."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from edgeward.cli import chain
from edgeward.cli.__main__ import build
from edgeward.cli.client import Client
from edgeward.cli.server import find
from edgeward.errors import Invalid, NotFound, Refused, Unavailable
from tests.client_certificates import Authority
from tests.integration.controller_setup import Controller
from tests.integration.processes import running, until
from tests.integration.rootd_rig import Rootd

ASK = 'ask = {roles = ["operator"], tokens = ["%s"]}'

_numbers = itertools.count()


class Edge:
    def __init__(self, place: Path) -> None:
        self.people = Authority("people")
        (place / "people.pem").write_text(self.people.pem)
        env = {"EDGEWARD_CLIENT_CA": str(place / "people.pem")}
        self.controller = Controller(place / "state", ("--local-node", "n1"), env)
        self.rootd = Rootd(place / "root")

    def client(self, token: str = "") -> Client:
        environment = {"EDGEWARD_TOKEN": token} if token else {}
        return Client(find(None, self.controller.state_dir, environment))

    def token(self, role: str, project: str = "*") -> dict[str, str]:
        with self.client() as client:
            name = f"{role}-{next(_numbers)}"
            return dict(client.post("/v1/tokens", {"name": name, "role": role, "project": project}))

    def run(self, token: str, action: str, values: dict[str, object] | None = None, **more: object):
        with self.client(token) as client:
            return client.post(f"/v1/actions/{action}/run", {"values": values or {}, **more})


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    """One for all tests here; each has tokens and actions of its own."""
    state_dir = Path(tempfile.mkdtemp(prefix="ew-", dir="/tmp"))
    found = Edge(state_dir)
    found.rootd.action(
        "hello", ["/usr/bin/echo", "hello", "{name}"], ASK % "none" + "\nvalues.name = {domain = true}"
    )
    with found.rootd.serving("--user", str(os.getuid())), found.controller.start():
        argv = [sys.executable, "-m", "edgeward.node", "--state-dir", str(found.controller.state_dir)]
        env = {"EDGEWARD_ROOTD_SOCKET": found.rootd.socket}
        with running(argv, env=env, output=state_dir / "node.out"):
            with found.client() as client:
                until(lambda: client.get("/v1/nodes/n1")["connected"], what="the node")
            yield found
    shutil.rmtree(state_dir, ignore_errors=True)


def test_users_of_the_api_run_what_the_nodes_files_let_them(edge):
    operator, viewer, other = edge.token("operator"), edge.token("viewer"), edge.token("operator", "a")

    came = edge.run(operator["token"], "hello", {"name": "shop.example"})
    assert (came["outcome"], came["exit"], came["output"]) == ("done", 0, "hello shop.example\n")
    assert (came["node"], came["state"]) == ("n1", "ended")
    for token in (viewer, other):  # a role in one project is none on the host
        with pytest.raises(Refused, match="there is no action 'hello' that you may ask for"):
            edge.run(token["token"], "hello", {"name": "shop.example"})
    with pytest.raises(Invalid, match="is a domain name"):
        edge.run(operator["token"], "hello", {"name": "-x"})
    with pytest.raises(NotFound):
        edge.run(operator["token"], "hello", {"name": "x"}, node="n2")
    with edge.client(operator["token"]) as client:
        assert "hello" in [a["name"] for a in client.get("/v1/actions")["items"]]

    edge.rootd.action("bound", ["/usr/bin/echo", "bound"], ASK % viewer["id"])
    assert edge.run(viewer["token"], "bound")["output"] == "bound\n"
    asked = [line["asker"] for line in edge.rootd.written()]
    assert {"role": "viewer", "token": viewer["id"], "address": "127.0.0.1"} in asked


def test_a_post_without_a_body_is_enough(edge):
    edge.rootd.action("ipsec-reload", ["/usr/bin/echo", "reloaded"], 'coalesce = true\nask.roles = ["admin"]')
    with edge.controller.client() as client:
        answer = client.post("/v1/actions/ipsec-reload/run")
        assert client.post("/v1/actions/ipsec-reload/run", json={"argv": ["x"]}).status_code == 422
        assert client.post("/v1/actions/ipsec-reload/run", content=b"{").status_code == 422

    assert (answer.status_code, answer.json()["output"]) == (200, "reloaded\n")
    assert answer.headers["location"] == f"/v1/actions/runs/{answer.json()['id']}"


def test_networks_bound_where_it_may_be_asked_from(edge):
    operator = edge.token("operator")["token"]
    edge.rootd.action("near", ["/usr/bin/true"], 'ask = {roles = ["operator"], networks = ["127.0.0.0/8"]}')
    edge.rootd.action("far", ["/usr/bin/true"], 'ask = {roles = ["operator"], networks = ["192.0.2.0/24"]}')

    assert edge.run(operator, "near")["outcome"] == "done"
    with pytest.raises(Refused):
        edge.run(operator, "far")


def test_certificates_bound_who_may_ask_besides(edge):
    asks = 'ask = {roles = ["admin"], certificates = ["ann.people.example"]}'
    edge.rootd.action("shown", ["/usr/bin/true"], asks)
    place = edge.controller.state_dir.parent
    ann, bob = (edge.people.issue(place, name) for name in ("ann", "bob"))
    stranger = Authority("strangers").issue(place, "eve")

    def status(shown: Path | None) -> int:
        context = ssl.create_default_context(cafile=str(edge.controller.state_dir / "ca" / "root.pem"))
        if shown is not None:
            context.load_cert_chain(shown)
        token = (edge.controller.state_dir / "admin.token").read_text().strip()
        with httpx.Client(base_url=edge.controller.url, verify=context, trust_env=False) as client:
            headers = {"authorization": f"Bearer {token}"}
            return client.post("/v1/actions/shown/run", headers=headers).status_code

    assert [status(ann), status(bob), status(None)] == [200, 403, 403]
    with pytest.raises(httpx.HTTPError):  # not from the authority that the API trusts
        status(stranger)


def test_what_takes_long_is_followed(edge):
    operator, other = edge.token("operator")["token"], edge.token("viewer")["token"]
    edge.rootd.action("slow", ["/usr/bin/sleep", "1"], ASK % "none")

    came = edge.run(operator, "slow", wait=0)
    assert came["state"] == "running"
    with edge.client(operator) as client:
        until(lambda: client.get(f"/v1/actions/runs/{came['id']}")["state"] == "ended")
        assert client.get(f"/v1/actions/runs/{came['id']}")["exit"] == 0
    with edge.client(other) as client, pytest.raises(NotFound):
        client.get(f"/v1/actions/runs/{came['id']}")


def test_without_rootd_it_says_so(edge):
    listening = Path(edge.rootd.socket)
    listening.rename(listening.with_suffix(".away"))
    try:
        with pytest.raises(Unavailable, match="no rootd on this node"):
            edge.run(edge.token("operator")["token"], "hello", {"name": "a.example"})
    finally:
        listening.with_suffix(".away").rename(listening)


def test_the_controller_notes_who_asked(edge):
    operator = edge.token("operator")
    edge.run(operator["token"], "hello", {"name": "shop.example"})
    with edge.client() as client:
        audit = client.get("/v1/audit")["items"]
        assert (operator["name"], "run") in [(e["who"], e["action"]) for e in audit if e["kind"] == "actions"]


def test_the_command_runs_lists_and_verifies(edge, monkeypatch):
    monkeypatch.setenv("EDGEWARD_STATE_DIR", str(edge.controller.state_dir))
    monkeypatch.setenv("EDGEWARD_ROOTD_SOCKET", edge.rootd.socket)
    runner, app = CliRunner(), build()

    def command(*words: str):
        return runner.invoke(app, ["action", *words])

    assert "hello a.example" in command("run", "hello", "name=a.example").stdout
    assert isinstance(command("run", "hello", "name=-x").exception, Invalid)
    with pytest.raises(Refused):  # the first token is an admin's, and the file lets operators only
        raise command("run", "--node", "n1", "hello", "name=a.example").exception
    edge.rootd.action("fails", ["/usr/bin/false"], 'ask.roles = ["admin"]')
    with pytest.raises(Unavailable, match="exit code 1"):
        raise command("run", "--node", "n1", "fails").exception
    assert "fails" in command("list", "--node", "n1").stdout
    assert "hello" in [a["name"] for a in json.loads(command("list", "-o", "json").stdout)["actions"]]
    assert "none changed" in command("verify-log", "--log", str(edge.rootd.log)).stdout


def test_a_log_that_was_written_anew_is_found_by_what_the_controller_was_told(edge, monkeypatch):
    monkeypatch.setenv("EDGEWARD_STATE_DIR", str(edge.controller.state_dir))
    for _ in range(3):
        edge.rootd.ask("hello", name="a.example")
    last = list(chain.lines(chain.files(edge.rootd.log)))[-1][1]
    import hashlib

    database = sqlite3.connect(edge.controller.state_dir / "edgeward.db")
    with database:  # as the node reports once a minute
        row = ("n1", json.loads(last)["n"], hashlib.sha256(last).hexdigest(), time.time())
        database.execute("INSERT INTO root_log_heads VALUES (?, ?, ?, ?)", row)
    words = ["action", "verify-log", "--log", str(edge.rootd.log), "--node", "n1"]
    assert "1 of them are as the controller was told" in CliRunner().invoke(build(), words).stdout

    log = edge.rootd.log / chain.NAME
    lines = log.read_bytes().splitlines(keepends=True)
    short = edge.rootd.place / "short"
    short.mkdir()
    (short / chain.NAME).write_bytes(b"".join(lines[:-1]))
    said = CliRunner().invoke(build(), [*words[:3], str(short), *words[4:]])
    assert isinstance(said.exception, Refused)
    assert "lines were cut off" in said.output
