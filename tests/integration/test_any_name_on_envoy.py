"""Routes of any name in a real Envoy: they take what nothing else takes, and leave others' names alone."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeward.gateway.envoy import Gateway
from edgeward.gateway.model import Listen, Route, Service
from edgeward.parsing import parse
from tests.integration.gateway_rig import Rig, ShowingBackend, ask, connect
from tests.ports import free_port

NAMES = ["new.example", "own.example", "theirs.example", "x.wild.example", "deep.x.wild.example"]


class Edge:
    def __init__(self, directory: Path) -> None:
        self.backend = ShowingBackend()
        self.rig = Rig(directory, {name: name for name in NAMES})
        self.http, self.https = free_port(), free_port()

    def show(self, **any_name: Any) -> None:
        at = (f"http://127.0.0.1:{self.backend.port}",)
        services = (Service(name="shown", backends=at), Service(name="shown", project="theirs", backends=at))
        routes = [
            {"name": "any", "hosts": ["*"], "service": "shown", **_marked("any"), **any_name},
            {
                "name": "own",
                "hosts": ["own.example"],
                "service": "shown",
                "paths": ["/own"],
                **_marked("own"),
            },
            {"name": "wild", "hosts": ["*.wild.example"], "service": "shown", **_marked("wild")},
        ]
        domains = {
            "*": "default",
            "own.example": "default",
            "theirs.example": "theirs",
            "*.wild.example": "default",
        }
        listen = Listen(http=f"127.0.0.1:{self.http}", https=f"127.0.0.1:{self.https}")
        self.rig.show(Gateway(listen, services, tuple(parse(Route, r) for r in routes), domains=domains))
        assert self.rig.discovery.refusals == []

    def taken(self, name: str, path: str = "/") -> str:
        """Give which route takes a request, or its status."""
        with connect(self.https, name) as connection:
            return _taken(ask(connection, f"GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()))

    def plainly(self, name: str, path: str = "/") -> str:
        with socket.create_connection(("127.0.0.1", self.http), timeout=30) as connection:
            return _taken(ask(connection, f"GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()))

    def close(self) -> None:
        self.rig.close()
        self.backend.close()


def _marked(name: str) -> dict[str, Any]:
    return {"response_headers": {"set": {"x-route": name}}}


def _taken(answer: bytes) -> str:
    for line in answer.split(b"\r\n"):
        if line.lower().startswith(b"x-route: "):
            return line[9:].decode()
    return answer.split(b" ", 2)[1].decode()


@pytest.fixture
def edge() -> Iterator[Edge]:
    with tempfile.TemporaryDirectory(prefix="any") as directory:
        made = Edge(Path(directory))
        yield made
        made.close()


def test_any_name_is_taken_where_nothing_nearer_is(edge: Edge) -> None:
    edge.show()

    assert [edge.taken(name) for name in NAMES] == ["any", "any", "404", "wild", "wild"]
    assert edge.taken("own.example", "/own") == "own"
    assert {edge.plainly(name) for name in (*NAMES, "never.example")} == {"308"}


def test_over_plain_http_any_name_is_served_where_its_route_says_so(edge: Edge) -> None:
    edge.show(http="serve", paths=["/shown"])

    assert edge.plainly("never.example", "/shown") == "any"
    assert edge.plainly("never.example", "/other") == "404"
    assert edge.plainly("own.example", "/own") == "308"
    assert edge.plainly("own.example", "/shown") == "any"
    assert edge.plainly("x.wild.example", "/own") == "308"
    assert edge.plainly("theirs.example", "/shown") == "308"
