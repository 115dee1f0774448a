"""Backends behind sites: Envoy reaches them by relays in the tunnels' namespaces, as long as the tunnels are up."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from edgeward.gateway.envoy import Gateway, endpoints, translate
from edgeward.gateway.model import Listen, Route, Service
from edgeward.node.actions import Acting
from edgeward.node.backends.relays import Relays
from edgeward.node.backends.sites import Site, Sites
from edgeward.parsing import parse
from tests.integration.gateway_rig import Rig, ask, connect, wait_for_port
from tests.integration.processes import running, until
from tests.integration.rootd_rig import IS_ROOT, NOBODY, Readable, readable_python
from tests.integration.test_backends_on_envoy import Authority
from tests.ports import free_port

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces")
ADDRESS = "192.168.4.10"
HERE = Path(__file__).parents[2]
BERLIN, PARIS = "vpn-00000000000a", "vpn-00000000000b"
UNAVAILABLE = "503 Service Unavailable: the site's server does not answer. Please try again soon.\n"
DOWN = "is down: the peer does not answer"


class Edge:
    """A rootd, an Envoy, and a node's relays between them; two customers with the same address."""

    def __init__(self, rootd: Readable, envoy: Rig) -> None:
        self.rootd, self.envoy = rootd, envoy
        self.place = Path(rootd.socket).parent
        self.port = free_port()
        self.services: tuple[Service, ...] = ()
        self.passed: dict[str, str] = {}
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.relays = self.within(self._made)
        self.relays.changed = lambda services: self.publish()
        self.running = asyncio.run_coroutine_threadsafe(self.relays.run(), self.loop)

    def _made(self) -> Relays:
        return Relays(Acting(self.rootd.socket, lambda: None).asked, self.place / "relays")

    def within(self, do: Callable[[], Any]) -> Any:
        async def done() -> Any:
            return do()

        return asyncio.run_coroutine_threadsafe(done(), self.loop).result(20)

    def close(self) -> None:
        self.running.cancel()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.1), self.loop).result(20)  # it takes a moment
        self.loop.call_soon_threadsafe(self.loop.stop)

    def keeper(self, namespace: str) -> int:
        return int((self.place / "namespaces" / namespace).read_text().split()[0])

    # --- what is told -------------------------------------------------------------------------

    def serve(self, *, passed: bool = False, **services: dict[str, Any]) -> None:
        """Have one host for each of these services: NAME.example; ``passed``: TLS and all."""
        self.passed = {"tls": "passthrough"} if passed else {}
        self.services = tuple(parse(Service, {"name": name, **said}) for name, said in services.items())
        self.within(lambda: self.relays.want(self.services))
        self.publish()
        wait_for_port("127.0.0.1", self.port)

    def sites(self, **troubles: str) -> None:
        """Say how the sites' tunnels do: the trouble of each, blank where it is up."""
        names = {"berlin": BERLIN, "paris": PARIS}
        known: Sites = {
            ("default", name): Site(names[name], ADDRESS, trouble) for name, trouble in troubles.items()
        }
        self.within(lambda: self.relays.know(known))

    def publish(self) -> None:
        routes = (parse(Route, {"name": s.name, "hosts": [f"{s.name}.example"], "service": s.name, **self.passed})
                  for s in self.services)  # fmt: skip
        gateway = Gateway(Listen(https=f"127.0.0.1:{self.port}"), self.services, tuple(routes))
        found = (endpoints(s, {}, self.relays.sockets(s)) for s in self.services)
        self.envoy.discovery.set((*translate(gateway), *found))

    # --- visitors -----------------------------------------------------------------------------

    def visit(self, service: str) -> tuple[int, str]:
        name = f"{service}.example"
        try:
            with connect(self.port, name) as connection:
                asked = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
                answer = ask(connection, asked)
        except OSError as error:  # what is to be passed through is not yet there
            return 0, repr(error)
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"chunked" in head.lower():
            body = body.partition(b"\r\n")[2].partition(b"\r\n")[0]
        return int(head.split(b" ", 2)[1]), body.decode()

    def gets(self, service: str, status: int, body: str) -> None:
        until(lambda: self.visit(service) == (status, body), 15, f"{service} to answer {status} {body}")

    def logged(self, after: int = 0, host: str = "", status: int = 0) -> list[dict[str, Any]]:
        """Visits, of a host and with a status where one is given, after so many."""
        lines = self.envoy.access_log.read_text().splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")][after:]
        return [one for one in told if not host or (one.get("host"), one.get("status")) == (host, status)]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def edge(needs: Callable[[str], str], authority: Authority) -> Iterator[Edge]:
    directory = Path(tempfile.mkdtemp(prefix="ew-", dir="/tmp"))
    names = {f"{name}.example": f"{name}.example" for name in ("a", "b")}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        rootd = Readable(directory, stack.enter_context(readable_python(needs)))
        stack.enter_context(rootd.serving("--user", str(NOBODY), "--relay-user", "games"))
        (directory / "envoy").mkdir()
        envoy = Rig(directory / "envoy", names)
        stack.callback(envoy.close)
        made = Edge(rootd, envoy)
        authority.context(directory, ADDRESS)
        pem = next(directory.glob("*.pem"))
        for namespace, word in ((BERLIN, "berlin"), (PARIS, "paris")):
            assert rootd.ask("create-namespace", namespace=namespace)["exit"] == 0
            stack.callback(rootd.ask, "remove-namespace", namespace=namespace)
            enter = ["nsenter", f"--net=/proc/{made.keeper(namespace)}/ns/net"]
            with running([*enter, "ip", "addr", "add", f"{ADDRESS}/32", "dev", "lo"]) as process:
                assert process.wait() == 0
            argv = [*enter, sys.executable, "-m", "tests.integration.customer", ADDRESS, word, pem]
            customer = stack.enter_context(running(argv, env={"PYTHONPATH": str(HERE)}))
            until(lambda of=customer: "is there" in of.output(), what="the customer")
        stack.callback(made.close)
        yield made


def test_two_sites_with_the_same_networks_are_reached_at_the_same_time_each_by_its_own_tunnel(
    edge: Edge,
) -> None:
    edge.sites(berlin="", paris="")
    edge.serve(
        a={"backends": [f"vpn://berlin/{ADDRESS}:80"]},
        b={"backends": [{"url": f"http://{ADDRESS}", "via": "paris"}]},
    )

    for _ in range(2):
        edge.gets("a", 200, "berlin")
        edge.gets("b", 200, "paris")


def test_https_and_http2_backends_and_names_of_the_sites_own_dns_are_reached_through_a_tunnel(
    edge: Edge, authority: Authority
) -> None:
    edge.sites(berlin="", paris="")
    tls = {"ca": authority.pem}
    edge.serve(
        a={"backends": [{"url": f"https://{ADDRESS}", "via": "berlin", "tls": tls}]},
        b={"backends": [{"url": f"h2c://{ADDRESS}:81", "via": "paris"}]},
    )
    edge.gets("a", 200, "berlin")
    edge.gets("b", 200, "paris over HTTP/2")

    edge.serve(
        a={"backends": ["vpn://paris/intranet.lan:80"]},
        b={"backends": [{"url": f"h2://{ADDRESS}:444", "via": "berlin", "tls": tls}]},
    )

    edge.gets("a", 200, "paris")
    edge.gets("b", 200, "berlin over HTTP/2")


def test_bytes_are_passed_through_a_tunnel_unread(edge: Edge) -> None:
    edge.sites(berlin="", paris="")
    edge.serve(a={"backends": [{"url": f"tcp://{ADDRESS}:443", "via": "paris"}]}, passed=True)

    edge.gets("a", 200, "paris")
    with connect(edge.port, "a.example") as connection:
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert [str(one) for one in names.value.get_values_for_type(x509.IPAddress)] == [ADDRESS]


def test_while_a_tunnel_is_down_visitors_get_503_at_once_and_the_log_says_which_tunnel_it_is(
    edge: Edge,
) -> None:
    edge.sites(berlin="", paris="")
    edge.serve(a={"backends": [f"vpn://berlin/{ADDRESS}:80"]}, b={"backends": [f"vpn://paris/{ADDRESS}:80"]})
    edge.gets("a", 200, "berlin")
    edge.gets("b", 200, "paris")
    before = len(edge.logged())

    edge.sites(berlin=DOWN, paris="")

    edge.gets("a", 503, UNAVAILABLE)
    assert edge.visit("b") == (200, "paris")
    assert edge.within(lambda: edge.relays.problem(edge.services[0])) == f"the tunnel to site berlin {DOWN}"
    until(lambda: edge.logged(before, "a.example", 503), what="the log")
    line = edge.logged(before, "a.example", 503)[-1]
    assert (line["via"], line["flags"], line["detail"]) == ("berlin", "UH", "no_healthy_upstream")

    edge.sites(berlin="", paris="")

    edge.gets("a", 200, "berlin")


def test_health_checks_go_through_the_tunnel_too(edge: Edge) -> None:
    edge.sites(berlin="", paris="")
    quick = {"interval": "200ms", "timeout": "1s", "unhealthy": 1}
    edge.serve(
        a={"backends": [f"vpn://berlin/{ADDRESS}:80"], "health": {"active": {"path": "/sick", **quick}}},
        b={"backends": [f"vpn://paris/{ADDRESS}:80"], "health": {"active": {"path": "/well", **quick}}},
    )

    edge.gets("a", 503, UNAVAILABLE)
    edge.gets("b", 200, "paris")


def test_a_relay_that_died_is_started_again_and_one_that_nobody_wants_ends(edge: Edge) -> None:
    edge.sites(berlin="", paris="")
    edge.serve(a={"backends": [f"vpn://berlin/{ADDRESS}:80"]})
    edge.gets("a", 200, "berlin")
    path = next(iter(edge.within(lambda: edge.relays.sockets(edge.services[0])).values()))
    record = Path(path).with_suffix("")
    first = int(record.read_text().split()[0])

    os.kill(first, 9)

    until(lambda: int(record.read_text().split()[0]) != first, what="another relay")
    edge.gets("a", 200, "berlin")


def test_a_site_that_is_not_known_and_a_name_that_nothing_resolves_are_told_in_a_sentence(edge: Edge) -> None:
    edge.sites(berlin="")
    edge.serve(a={"backends": ["vpn://rome/10.0.0.1:80"]})

    assert edge.visit("a")[0] == 503
    assert (
        edge.within(lambda: edge.relays.problem(edge.services[0])) == "this node has no gateway of site rome"
    )
