"""Names of strangers from a handshake to a real authority's certificate: asked about, looked up, ordered, proven."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.integration.acme import Needs, Pebble, pebble
from tests.integration.processes import running, until
from tests.ports import free_port

SUFFIX, FEW = "customers.example.com", "few.example.com"


class Asked:
    """Answers ``ask`` for these names only, and counts."""

    def __init__(self) -> None:
        self.allowed: set[str] = set()
        self.questions: list[str] = []
        asked = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = parse_qs(urlsplit(self.path).query).get("domain", ["?"])[0]
                asked.questions.append(name)
                self.send_response(200 if name in asked.allowed else 404)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/may"


@dataclass
class Edge:
    state: Path
    api: int
    authority: Pebble
    asked: Asked

    def names(self, name: str) -> set[str] | None:
        """Shake hands under a name; gives the names of the certificate, None where it is refused."""
        context = ssl.create_default_context(cadata=self.authority.root())
        try:
            with (
                socket.create_connection(("127.0.0.1", self.authority.tls_port), timeout=30) as plain,
                context.wrap_socket(plain, server_hostname=name) as secure,
            ):
                found: Any = secure.getpeercert()
                return {value for _, value in found["subjectAltName"]}
        except (ssl.SSLError, ConnectionError):
            return None

    def get(self, path: str) -> Any:
        return self._api(path).json()

    def _api(self, path: str) -> httpx.Response:
        context = ssl.create_default_context(cafile=self.state / "ca/root.pem")
        token = (self.state / "admin.token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        return httpx.get(f"https://127.0.0.1:{self.api}{path}", headers=headers, verify=context, timeout=30)

    def figures(self) -> dict[str, float]:
        """Give what both programs count of such names."""
        text = self._api("/metrics").text
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.state / "node/node.sock"))) as client:
            text += client.get("http://node/metrics").text
        wanted = ("edgeward_new_names{", "edgeward_node_challenges_answered_total")
        lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(wanted))
        return {name: float(value) for name, _, value in lines}

    def problem(self, name: str) -> str:
        """Visit until the order of a name has failed; gives why."""
        self.names(name)
        found = []
        until(lambda: found.append(self._failed(name)) or found[-1], 20, "the order to fail")
        return str(found[-1])

    def _failed(self, name: str) -> str | None:
        items = self.get(f"/v1/orders?name={name}")["items"]
        return next((item["problem"] for item in items if item["problem"]), None)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, needs: Needs) -> Iterator[Edge]:
    directory = tmp_path_factory.mktemp("e", numbered=True)
    api, asked = free_port(), Asked()
    with pebble(directory, needs) as authority:
        issuers = [{"name": kind, "acme": _acme(authority, kind)} for kind in ("http-01", "tls-alpn-01")]
        declared = {
            "version": 1,
            "listen": {
                "http": f"127.0.0.1:{authority.http_port}",
                "https": f"127.0.0.1:{authority.tls_port}",
                "api": f"127.0.0.1:{api}",
                "public": ["127.0.0.1"],
            },
            "issuers": issuers,
            "domains": [
                {"name": f"*.{SUFFIX}", "on_demand": True, "issuer": "http-01", "ask": asked.url},
                {"name": "*", "on_demand": True, "issuer": "tls-alpn-01", "ask": asked.url},
                {"name": f"*.{FEW}", "on_demand": True, "issuer": "http-01", "new_names": 3},
            ],
        }
        config = directory / "edgeward.yaml"
        config.write_text(json.dumps(declared))
        state = directory / "s"
        argv = [sys.executable, "-P", "-m", "edgeward.cli", "up", "-c", config, "--state-dir", state]
        env = {"EDGEWARD_CONCURRENCY": "1", "EDGEWARD_DNS_SERVERS": authority.names.address}
        with running(argv, env=env) as process:
            until(lambda: _ready(state) or not process.alive(), 60, "readiness")
            assert process.alive(), process.output()
            yield Edge(state, api, authority, asked)
    asked.server.shutdown()


def _acme(authority: Pebble, challenge: str) -> dict[str, Any]:
    return {"directory": authority.directory, "ca_file": str(authority.ca_file), "challenges": [challenge]}


def _ready(state: Path) -> bool:
    path = state / "up.json"
    return path.exists() and bool(json.loads(path.read_text())["ready"])


@pytest.mark.parametrize("name", [f"anna.{SUFFIX}", "shop.anybodys.example.net"])
def test_a_name_that_is_allowed_is_served_with_an_ordered_certificate_at_its_first_visit(
    edge: Edge, name: str
) -> None:
    edge.asked.allowed.add(name)

    assert edge.names(name) == {name}
    edge.asked.allowed.discard(name)
    assert edge.names(name) == {name}
    assert edge.asked.questions.count(name) == 1


def test_a_name_that_is_not_allowed_is_not_ordered(edge: Edge) -> None:
    orders = edge.authority.orders()

    assert edge.names(f"bad.{SUFFIX}") is None
    assert edge.names("bad.example.org") is None
    assert edge.authority.orders() == orders
    assert edge.get(f"/v1/orders?name=bad.{SUFFIX}")["items"] == []


def test_a_name_that_leads_elsewhere_or_is_not_for_this_authority_is_not_ordered(edge: Edge) -> None:
    elsewhere, closed = f"elsewhere.{SUFFIX}", "closed.example.org"
    edge.asked.allowed |= {elsewhere, closed}
    edge.authority.names.at(elsewhere, "198.51.100.7")
    edge.authority.names.caa("example.org", ("issue", ";"))
    orders = edge.authority.orders()

    assert "leads to 198.51.100.7 in DNS" in edge.problem(elsewhere)
    assert "CAA" in edge.problem(closed)
    assert "leads to 198.51.100.7 in DNS" in edge.get(f"/v1/explain/{elsewhere}")["reason"]
    assert edge.authority.orders() == orders


def test_both_sides_tell_what_they_did(edge: Edge) -> None:
    before = edge.figures()
    edge.asked.allowed.add(f"told.{SUFFIX}")

    assert edge.names(f"told.{SUFFIX}") is not None
    assert edge.names(f"untold.{SUFFIX}") is None
    after = edge.figures()
    grown = {name for name, value in after.items() if value > before[name]}
    assert grown == {
        'edgeward_new_names{outcome="allowed"}',
        'edgeward_new_names{outcome="refused"}',
        "edgeward_node_challenges_answered_total",
    }


def test_strangers_who_ask_for_many_names_bring_about_as_many_orders_as_the_budget_says(edge: Edge) -> None:
    known, orders = f"known.{SUFFIX}", edge.authority.orders()
    edge.asked.allowed.add(known)
    assert edge.names(known) == {known}
    with ThreadPoolExecutor(8) as strangers:
        seen = list(strangers.map(edge.names, [f"n{n}.{FEW}" for n in range(60)]))

    assert sum(names is not None for names in seen) == 3
    assert edge.authority.orders() == orders + 4
    assert edge.names(known) == {known}
