"""The commands against a running edge, as a person or a script uses them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.processes import running, until
from tests.ports import free_port

SHOP, LAZY = "shop.example", "anna.customers.example"


@dataclass
class Done:
    code: int
    out: str
    err: str

    def data(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass
class Edge:
    """A running `edgeward up` and the command beside it."""

    state: Path
    https: int
    api: int
    backend: int
    declared: dict[str, Any]

    def run(self, *arguments: str | Path, stdin: str = "", **environment: str) -> Done:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("EDGEWARD_")}
        own = {"EDGEWARD_STATE_DIR": str(self.state), **environment}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "edgeward.cli", *map(str, arguments)],
            input=stdin,
            env={**inherited, **own},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def file(self, name: str, **sections: Any) -> Path:
        path = self.state.parent / name
        path.write_text(yaml.safe_dump({"version": 1, **sections}))
        return path

    def certificate(self, name: str) -> str:
        """Visit and give the fingerprint of the certificate shown, verified against the root."""
        context = ssl.create_default_context(cafile=self.state / "ca" / "root.pem")
        with (
            socket.create_connection(("127.0.0.1", self.https), 10) as tcp,
            context.wrap_socket(tcp, server_hostname=name) as tls,
        ):
            return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")


class Backend(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    directory = Path(tempfile.mkdtemp(prefix="ew-", dir="/tmp"))
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    https, api, port = free_port(), free_port(), backend.server_address[1]
    declared = {
        "listen": {"https": f"127.0.0.1:{https}", "api": f"127.0.0.1:{api}"},
        "domains": [{"name": SHOP}, {"name": "*.customers.example", "on_demand": True}],
        "services": [{"name": "shop", "backends": [f"http://127.0.0.1:{port}"]}],
        "routes": [{"name": "all", "hosts": [SHOP, "*.customers.example"], "service": "shop"}],
    }
    found = Edge(directory / "s", https, api, port, declared)
    config = found.file("edgeward.yaml", **declared)
    argv = [sys.executable, "-P", "-m", "edgeward.cli", "up", "-c", config, "--state-dir", found.state]
    with running([*argv, "--name", "edge1"], env={"EDGEWARD_CONCURRENCY": "1"}) as process:
        record = found.state / "up.json"
        until(
            lambda: not process.alive() or (record.exists() and json.loads(record.read_text())["ready"]), 40.0
        )
        assert process.alive()
        until(lambda: found.run("explain", SHOP, "-o", "json").data()["served"], 20.0)
        yield found
    backend.shutdown()
    shutil.rmtree(directory, ignore_errors=True)


def test_looking_at_what_is_declared(edge: Edge) -> None:
    assert SHOP in edge.run("get", "domains").out
    domains = edge.run("get", "domains", "-o", "json").data()
    assert {d["name"]: d["source"] for d in domains} == {
        SHOP: "file:edgeward.yaml",
        "*.customers.example": "file:edgeward.yaml",
    }
    assert edge.run("get", "domain", "Shop.Example.", "-o", "json").data()["name"] == SHOP
    assert yaml.safe_load(edge.run("get", "listen", "-o", "yaml").out)["value"]["https"]
    assert [d["name"] for d in edge.run("get", "domains", "sh*", "-o", "json").data()] == [SHOP]
    assert "edge1" in edge.run("get", "nodes").out
    assert edge.run("get", "node", "edge1", "-o", "json").data()["connected"]
    assert "admin" in edge.run("get", "tokens").out
    assert f"domains/default/{SHOP}" in edge.run("get", "audit").out
    missing = edge.run("get", "services", "none")
    assert (missing.code, missing.out) == (1, "")
    assert edge.run("get", "gadgets").code == 2


def test_the_status_is_a_page_a_person_reads(edge: Edge) -> None:
    page = edge.run("status")

    assert page.code == 0
    for word in ("controller", "envoy", "edge1", "domains", "everything is well", "serving"):
        assert word in page.out
    assert edge.run("status", "-o", "json").data()["nodes"][0]["name"] == "edge1"


def test_an_export_is_a_file_that_changes_nothing(edge: Edge) -> None:
    exported = edge.run("export")
    path = edge.state.parent / "exported" / "edgeward.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(exported.out)

    assert edge.run("validate", "-f", path).code == 0
    assert edge.run("diff", "-f", path).code == 0
    assert "nothing to change" in edge.run("apply", "-f", path).out


def test_a_file_is_shown_applied_waited_for_and_undone(edge: Edge) -> None:
    extra = {
        "domains": [{"name": "extra.example"}],
        "services": [{"name": "extra", "backends": [f"http://127.0.0.1:{edge.backend}"]}],
        "routes": [{"name": "extra", "hosts": ["extra.example"], "service": "extra"}],
    }
    path = edge.file("extra.yaml", **extra)
    assert not edge.run("explain", "extra.example", "-o", "json").data()["served"]
    difference = edge.run("diff", "-f", path)
    assert difference.code == 3
    assert "+ domains/default/extra.example" in difference.out

    applied = edge.run("apply", "-f", path, "--wait", "--timeout", "20")
    assert applied.code == 0, applied.err
    assert "3 created, 0 changed, 0 deleted" in applied.out
    assert "edge1 serves revision" in applied.out
    assert edge.run("diff", "-f", path).code == 0
    until(lambda: edge.certificate("extra.example"), 10.0)
    assert edge.run("explain", "extra.example", "-o", "json").data()["served"]

    nothing = edge.file("extra.yaml")
    assert edge.run("diff", "-f", nothing, "--keep").code == 0
    assert "3 deleted" in edge.run("apply", "-f", nothing, "--wait").out
    with pytest.raises(ssl.SSLError):
        edge.certificate("extra.example")


def test_standard_input_is_a_file_too(edge: Edge) -> None:
    text = yaml.safe_dump({"version": 1, "domains": [{"name": "piped.example"}]})

    assert edge.run("validate", "-f", "-", stdin=text).code == 0
    assert edge.run("apply", "-f", "-", stdin=text).code == 0
    assert edge.run("get", "domain", "piped.example", "-o", "json").data()["source"] == "file:-"
    assert edge.run("apply", "-f", "-", stdin="version: 1").code == 0
    assert edge.run("get", "domain", "piped.example").code == 1


def test_a_secret_of_this_side_is_read_here_and_not_there(edge: Edge) -> None:
    pem = edge.run("ca", "root").out
    (edge.state.parent / "backend.pem").write_text(pem)
    backend = {"url": "https://backend.example", "tls": {"ca": {"file": "backend.pem"}}}
    path = edge.file("secret.yaml", services=[{"name": "secret", "backends": [backend]}])

    assert edge.run("apply", "-f", path).code == 0
    stored = edge.run("get", "service", "secret", "-o", "json").data()["value"]
    assert stored["backends"][0]["tls"]["ca"] == pem
    assert edge.run("apply", "-f", edge.file("secret.yaml")).code == 0


def test_every_mistake_of_a_file_is_named_with_its_line(edge: Edge) -> None:
    path = edge.state.parent / "bad.yaml"
    path.write_text(
        "version: 1\n"
        "domains:\n"
        "  - {name: a_b.example}\n"
        "  - {name: good.example, colour: red}\n"
        "services:\n"
        '  - {name: s, backends: ["ftp://x"]}\n'
    )
    for command in ("validate", "diff", "apply"):
        done = edge.run(command, "-f", path)
        assert done.code == 2
        assert f"{path}:3: domains[0].name" in done.err
        assert f"{path}:4: domains[1].colour" in done.err
        assert f"{path}:6: services[0].backends[0]" in done.err
    path.write_text("version: 1\ndomains:\n  - {name: good.example, issuer: nobody}\n")
    for command in ("validate", "apply"):
        done = edge.run(command, "-f", path)
        assert done.code == 2
        assert f"{path}:3: domains/default/good.example: issuer" in done.err
    assert edge.run("get", "domain", "good.example").code == 1
    assert edge.run("apply", "-f", edge.state.parent / "none.yaml").code == 2
    assert edge.run("apply").code == 2


def test_another_sources_objects_are_only_taken_over_when_asked(edge: Edge) -> None:
    path = edge.file("rival.yaml", domains=[{"name": SHOP}])
    refused = edge.run("apply", "-f", path)

    assert refused.code == 1
    assert f"domains/default/{SHOP} (source file:edgeward.yaml)" in refused.err
    assert "taken over from file:edgeward.yaml" in edge.run("diff", "-f", path, "--take-over").out
    assert edge.run("delete", "domain", SHOP).code == 1


def test_what_envoy_refuses_is_told_as_a_sentence_about_the_object(edge: Edge) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        listen = {**edge.declared["listen"], "https": f"127.0.0.1:{port}"}
        path = edge.file("listen.yaml", listen=listen)
        done = edge.run("apply", "-f", path, "--take-over", "--wait", "--timeout", "20")
        assert done.code == 1
        assert "edge1 refuses listen/default/listen" in done.err
        assert str(port) in done.err
        assert "edge1 refuses listen/default/listen" not in done.out
        assert edge.certificate(SHOP), "the listener before is served until Envoy has taken the other one"
    back = edge.file("edgeward.yaml", **edge.declared)
    assert edge.run("apply", "-f", back, "--take-over", "--wait", "--timeout", "20").code == 0


def test_explaining_a_name(edge: Edge) -> None:
    first = edge.certificate(LAZY)
    served = edge.run("explain", LAZY)
    assert f"{LAZY} is served" in served.out
    for word in ("*.customers.example", "on demand", "shop", "edge1", "resident"):
        assert word in served.out
    assert "no domain covers nix.example" in edge.run("explain", "nix.example").out
    assert "default_domain" in edge.run("explain", "-").out
    assert edge.run("explain", LAZY, "--path", "x").code == 2
    assert edge.certificate(LAZY) == first


def test_certificates_are_listed_and_their_copies_expired(edge: Edge) -> None:
    edge.certificate(LAZY)
    listed = edge.run("get", "certificates", "--expiring", "30d", "-o", "json").data()
    assert {SHOP, LAZY} <= {c["name"] for c in listed}
    assert "key" not in listed[0]
    assert edge.run("get", "certificates", "--expiring", "1h", "-o", "json").data() == []
    before = edge.run("get", "certificate", LAZY, "-o", "json").data()
    assert edge.run("certificates", "expire", LAZY).code == 0
    assert edge.run("certificates", "expire", "--all").code == 0
    until(lambda: edge.certificate(LAZY), 10.0)
    assert edge.run("get", "certificate", LAZY, "-o", "json").data()["fingerprint"] == before["fingerprint"]
    assert edge.run("certificates", "expire", "nix.example").code == 1
    assert edge.run("certificates", "expire").code == 2
    assert "expire" in edge.run("get", "audit").out


def test_tokens_are_made_used_and_revoked(edge: Edge) -> None:
    made = edge.run("token", "create", "ci", "--role", "viewer", "--project", "default", "--expires-in", "1h")
    token = made.out.strip()
    assert token.startswith("ew_")
    assert edge.run("get", "domains", EDGEWARD_TOKEN=token).code == 0
    forbidden = edge.run("delete", "domain", SHOP, EDGEWARD_TOKEN=token)
    assert (forbidden.code, forbidden.out) == (1, "")
    assert "viewer" in forbidden.err
    assert "ci" in edge.run("token", "list").out
    assert token not in edge.run("token", "list", "-o", "json").out
    assert edge.run("token", "revoke", "ci").code == 0
    until(lambda: edge.run("get", "domains", EDGEWARD_TOKEN=token).code == 1, 5.0)
    assert edge.run("token", "create", "x", "--role", "king").code == 2


def test_history_is_listed_shown_and_gone_back_to(edge: Edge) -> None:
    for options in ({}, {"on_demand": True}):
        path = edge.file("history.yaml", domains=[{"name": "history.example", **options}])
        assert edge.run("apply", "-f", path).code == 0
    newest, first = edge.run("history", "domain", "history.example", "-o", "json").data()
    one = [str(first["revision"]), "domains", "history.example"]

    assert "file:history.yaml" in edge.run("history").out
    assert "on_demand" in edge.run("history", "domains", "history.example").out
    assert edge.run("history", "domains/default/history.example", "-o", "json").data() == [newest, first]
    assert "+     on_demand: true" in edge.run("show", str(newest["revision"])).out
    assert "on_demand" not in edge.run("show", *one).out
    assert edge.run("show", one[0], "domains/default/history.example").out == edge.run("show", *one).out
    assert "on_demand" in edge.run("export", "--revision", str(newest["revision"])).out
    dry = edge.run("rollback", *one, "--dry-run")
    assert (dry.code, "-     on_demand: true" in dry.out) == (3, True)
    assert "declared by the file history.yaml" in dry.err
    late = edge.run("rollback", *one, "--if-at", one[0])
    assert (late.code, "was changed since" in late.err) == (1, True)
    assert edge.run("rollback", *one, "--if-at", str(newest["revision"])).code == 0
    assert "on_demand" not in edge.run("get", *one[1:], "-o", "json").data()["value"]
    assert "nothing to change" in edge.run("rollback", *one).out
    assert edge.run("rollback", "1000000").code == 1
    assert edge.run("history", "tokens").code == 2
    assert edge.run("history", "-o", "json", "--limit", "1").data()[0]["rolled_back_to"] == first["revision"]
    assert edge.run("delete", *one[1:], "--take-over").code == 0


def test_events_tell_of_changes_and_of_nodes(edge: Edge) -> None:
    def told() -> list[tuple[str, Any]]:
        lines = edge.run("events", "--last", "1000", "-o", "json").out.splitlines()
        found = [json.loads(line) for line in lines]
        assert [e["id"] for e in found] == sorted({e["id"] for e in found})
        return [(e["type"], e["data"].get("what"), e["data"].get("revision")) for e in found]

    assert edge.run("apply", "-f", edge.file("e.yaml", domains=[{"name": "e.example"}])).code == 0
    revision = edge.run("history", "-o", "json", "--limit", "1").data()[0]["revision"]
    until(lambda: ("node", "revision", revision) in told(), 20.0)
    assert {("node", "connected", None), ("change", None, revision)} <= set(told())
    page = edge.run("events").out
    assert f"edge1 serves revision {revision}" in page
    assert f"revision {revision} (admin, file:e.yaml): create domains/default/e.example" in page
    assert "domains/default" not in edge.run("events", "--types", "node").out
    assert edge.run("events", "--types", "x").code == 2
    assert edge.run("apply", "-f", edge.file("e.yaml")).code == 0


def test_the_root_is_printed_and_how_to_trust_it(edge: Edge) -> None:
    root = (edge.state / "ca" / "root.pem").read_text()
    api = f"https://127.0.0.1:{edge.api}"

    assert edge.run("ca", "root").out == root
    assert edge.run("ca", "root", "--api", api).out == root
    how = edge.run("ca", "root", "--how").out
    for store in ("Debian", "Fedora", "macOS", "Windows", "Firefox", "Java", str(edge.state)):
        assert store in how


def test_a_server_that_is_not_there_or_another_one_is_said_so(edge: Edge, tmp_path: Path) -> None:
    gone = edge.run("status", "--api", f"127.0.0.1:{free_port()}")
    assert gone.code == 1
    assert "refused" in gone.err and "EDGEWARD_API" in gone.err
    assert edge.run("status", "--api", "http://127.0.0.1").code == 2
    nobody = edge.run("status", EDGEWARD_STATE_DIR=str(tmp_path))
    assert nobody.code == 1
    assert "edgeward up" in nobody.err and "\n" not in nobody.err.strip()
    stranger = edge.run(
        "status",
        EDGEWARD_API=f"127.0.0.1:{edge.api}",
        EDGEWARD_CA=str(_another_root(tmp_path)),
        EDGEWARD_TOKEN="ew_a_b",
    )
    assert stranger.code == 1
    assert "is not the one expected" in stranger.err
    assert edge.run("status", EDGEWARD_TOKEN="ew_000000000000_wrong").code == 1


def _another_root(directory: Path) -> Path:
    from edgeward.certificates.local.signing import new_root

    path = directory / "other.pem"
    path.write_text(new_root(1_790_000_000.0).pem)
    return path


def test_nodes_are_labelled_and_what_they_serve_follows(edge: Edge) -> None:
    assert "no labels" in edge.run("node", "label", "edge1").out
    labelled = edge.run("node", "label", "edge1", "region=eu", "rack=a/1")
    assert (labelled.code, labelled.out) == (0, "edge1: rack=a/1, region=eu\n")
    assert "rack=a/1, region=eu" in edge.run("get", "nodes").out
    assert edge.run("node", "label", "edge1", "rack-").out == "edge1: region=eu\n"
    assert edge.run("node", "label", "edge1", "name=edge2").code == 2
    assert edge.run("node", "label", "nobody", "a=b").code == 1

    file = edge.file("eu.yaml", domains=[{"name": "eu.example", "nodes": {"region": ["eu", "ch"]}}])
    done = edge.run("apply", "-f", file, "--wait", "--timeout", "20")
    assert done.code == 0, done.err
    assert re.search(r"edge1 serves revision \d+ after \d+\.\d\d s", done.out)
    assert "eu.example" in edge.run("get", "domains").out

    edge.run("node", "label", "edge1", "region=us")
    explained = edge.run("explain", "eu.example").out
    assert "not on edge1: the domain eu.example is served on other nodes: region: ch or eu" in explained
    assert "no node has the labels that domains/default/eu.example asks for" in edge.run("status").out
    edge.run("node", "label", "edge1", "region-")
    assert edge.run("apply", "-f", edge.file("eu.yaml")).code == 0


def test_a_join_token_says_its_labels_and_the_pin_to_join_with(edge: Edge) -> None:
    made = edge.run(
        "token", "create", "berlin", "--role", "node", "--label", "region=eu", "--label", "name=b"
    )
    assert made.code == 0, made.err
    root = ssl.PEM_cert_to_DER_cert((edge.state / "ca" / "root.pem").read_text())
    assert f"for --ca-sha256: {hashlib.sha256(root).hexdigest()}" in made.err
    assert "name=b, region=eu" in edge.run("get", "tokens").out
    assert edge.run("token", "create", "x", "--label", "region=eu").code == 2
