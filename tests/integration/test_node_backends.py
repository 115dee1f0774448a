"""Backends found by name: addresses that change, DNS that dies, addresses a tenant must not reach."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import ports
from tests.integration.dns import Dns, dns
from tests.integration.node_rig import Rig, rig, within


class Backend(http.server.ThreadingHTTPServer):
    """Answers every request with its own address."""

    def __init__(self, host: str, port: int) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-length", str(len(host)))
                self.end_headers()
                self.wfile.write(host.encode())

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__((host, port), Handler)
        self.host = host


@pytest.fixture
def edge(state_dir: Path) -> Iterator[Rig]:
    with rig(state_dir) as made:
        yield made


@pytest.fixture
def names() -> Iterator[Dns]:
    with dns() as made:
        yield made


@pytest.fixture
def port() -> Iterator[int]:
    """Two backends on 127.0.0.2 and 127.0.0.3 at this port."""
    chosen = ports.free_port()
    with ExitStack() as stack:
        for host in ("127.0.0.2", "127.0.0.3"):
            server = stack.enter_context(Backend(host, chosen))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        yield chosen


def declare(edge: Rig, port: int, allow: tuple[str, ...] = ("127.0.0.0/8",)) -> None:
    edge.controller.declare("shop.example", https=[f"127.0.0.1:{edge.port}"])
    if ("certificates", "default", "shop.example") not in edge.controller.objects:
        edge.controller.certify("shop.example")
    service = {
        "name": "shop",
        "backends": [f"http://backend.internal:{port}"],
        "allow_networks": list(allow),
    }
    route = {"name": "shop", "hosts": ["shop.example"], "service": "shop"}
    edge.controller.change({("services", "shop"): service, ("routes", "shop"): route})


def start(edge: Rig, names: Dns) -> None:
    edge.controller.start()
    edge.write_identity()
    edge.start_node(EDGEWARD_DNS_SERVERS=names.address)
    edge.start_envoy()
    edge.wait_ready()


def page(edge: Rig) -> str:
    """Give the body of a page, or its status where it is none."""
    context = ssl.create_default_context(cadata=edge.controller.authority.pem)
    with (
        socket.create_connection(("127.0.0.1", edge.port), 30) as plain,
        context.wrap_socket(plain, server_hostname="shop.example") as secure,
    ):
        secure.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: secure.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split()[1].decode()
    return body.decode() if status == "200" else status


def told(edge: Rig) -> str:
    return str(edge.controller.reports[-1]["backends"].get("services/default/shop", ""))


def test_a_backend_that_changes_its_address_is_followed_within_its_ttl(
    edge: Rig, names: Dns, port: int
) -> None:
    names.records["backend.internal"] = (1, ["127.0.0.2"])
    declare(edge, port)
    start(edge, names)
    within(3, lambda: page(edge) == "127.0.0.2", "the first address")

    names.records["backend.internal"] = (1, ["127.0.0.3"])

    within(4, lambda: page(edge) == "127.0.0.3", "the second address")


def test_the_last_good_answer_serves_while_dns_is_dead_also_after_a_restart(
    edge: Rig, names: Dns, port: int
) -> None:
    names.records["backend.internal"] = (1, ["127.0.0.2"])
    declare(edge, port)
    start(edge, names)
    within(3, lambda: page(edge) == "127.0.0.2", "the first address")
    within(8, lambda: b"backend.internal" in copy_of(edge), "the answer to be kept")

    names.fail = True
    within(6, lambda: "last good answer" in told(edge), "the report")
    assert page(edge) == "127.0.0.2"

    names.mute = True
    edge.kill_node()
    assert edge.envoy is not None
    edge.envoy.end()
    edge.controller.stop()
    edge.start_node(EDGEWARD_DNS_SERVERS=names.address)
    edge.start_envoy()
    edge.wait_ready()
    assert page(edge) == "127.0.0.2"


def copy_of(edge: Rig) -> bytes:
    return b"".join(p.read_bytes() for p in edge.node_dir.glob("last-good.db*"))


def test_a_name_that_turns_to_loopback_is_dropped_and_the_report_says_why(
    edge: Rig, names: Dns, port: int
) -> None:
    names.records["backend.internal"] = (1, ["127.0.0.2"])
    declare(edge, port, allow=())
    start(edge, names)

    within(4, lambda: "127.0.0.2" in told(edge), "the report")
    assert "allow_networks" in told(edge)
    assert page(edge) == "503"

    declare(edge, port, allow=("127.0.0.2/32",))
    within(3, lambda: page(edge) == "127.0.0.2", "the permitted address")
    names.records["backend.internal"] = (1, ["127.0.0.3"])
    within(4, lambda: page(edge) == "503", "the address that is not permitted to be dropped")


def test_a_name_dns_never_answers_holds_up_nothing_else(edge: Rig, names: Dns, port: int) -> None:
    names.mute = True
    declare(edge, port)
    start(edge, names)

    assert page(edge) == "503"
    within(6, lambda: "does not answer" in told(edge) or "fails" in told(edge), "the report")

    names.mute = False
    names.records["backend.internal"] = (1, ["127.0.0.3"])
    within(8, lambda: page(edge) == "127.0.0.3", "its answer")


def test_figures_tell_what_the_node_and_envoy_do(edge: Rig, names: Dns, port: int) -> None:
    names.records["backend.internal"] = (60, ["127.0.0.2"])
    metrics_port = ports.free_port()
    declare(edge, port)
    listen = {"https": [f"127.0.0.1:{edge.port}"], "metrics": [f"127.0.0.1:{metrics_port}"]}
    edge.controller.change({("listen", "listen"): listen})
    start(edge, names)
    within(3, lambda: page(edge) == "127.0.0.2", "a page")
    assert edge.visit("stranger.example") is None

    import httpx

    text = httpx.get(f"http://127.0.0.1:{metrics_port}/metrics").text
    assert 'edgeward_node_names_answered_total{outcome="served",tier="disk"} 1.0' in text
    assert 'edgeward_node_names_answered_total{outcome="not declared",tier="none"} 1.0' in text
    within(3, lambda: edge.metric("edgeward_node_envoy_up") == {"": 1.0}, "Envoy's state")
    requests = edge.metric("edgeward_node_envoy_requests_total")
    assert requests['{listener="https",status="2xx"}'] >= 1
    assert edge.metric("edgeward_node_revision_in_force")[""] == edge.controller.revision

    edge.controller.change({("listen", "listen"): {"https": [f"127.0.0.1:{edge.port}"]}})

    def closed() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", metrics_port)) != 0

    within(3, closed, "the metrics address to be given up")


def test_a_changed_service_is_in_force_at_once_although_its_endpoints_are_the_same(
    edge: Rig, names: Dns, port: int
) -> None:
    names.records["backend.internal"] = (60, ["127.0.0.2"])
    declare(edge, port)
    start(edge, names)
    within(10, lambda: page(edge) == "127.0.0.2", "served")

    service = edge.controller.objects["services", "default", "shop"]
    edge.controller.change({("services", "shop"): {**service, "timeouts": {"connect": 7}}})

    within(10, lambda: edge.metric("edgeward_node_revision_in_force")[""] == edge.controller.revision, "it")
    assert edge.stat(r"cluster\.default/shop\.init_fetch_timeout") == 0, "it waited until Envoy gave up"
    assert page(edge) == "127.0.0.2"


def test_a_backend_that_envoy_leaves_out_is_named_in_reports_and_figures(
    edge: Rig, names: Dns, port: int
) -> None:
    names.records["backend.internal"] = (60, ["127.0.0.2", "127.0.0.9"])
    declare(edge, port)
    service = {
        "name": "shop",
        "backends": [f"http://backend.internal:{port}"],
        "allow_networks": ["127.0.0.0/8"],
        "health": {"passive": {"connect_errors": 1}},
        "circuit": {},
    }
    edge.controller.change({("services", "shop"): service})
    start(edge, names)

    within(5, lambda: [page(edge) for _ in range(4)] == ["127.0.0.2"] * 4, "pages from the one that is well")

    metric = "edgeward_node_backends_left_out"
    within(5, lambda: edge.metric(metric) == {'{service="default/shop"}': 1.0}, "the figure")
    said = f"127.0.0.9:{port} failed visitors' requests and is left out for a while"
    found = lambda: edge.controller.reports[-1].get("left_out")  # noqa: E731
    within(15, lambda: found() == {"services/default/shop": said}, "the report")
