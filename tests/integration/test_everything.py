"""The example with everything: two customers with the same networks behind one edge, each by its own tunnel."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.gateway_rig import ask, connect
from tests.integration.processes import Process, running, until
from tests.integration.rootd_rig import IS_ROOT, Readable, readable_python
from tests.integration.vpn_rig import Namespace, has_charon, wide_area

pytestmark = [
    pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces"),
    pytest.mark.skipif(not has_charon(), reason="no charon-systemd here"),
]
EXAMPLES = Path(__file__).parents[2] / "examples"
OPTIONS = ("--user", "0", "--vpn-user", "games", "--relay-user", "games")


class Edge:
    """A host, which is a namespace, with the example on it."""

    def __init__(self, host: Namespace, state: Path, customers: Process, up: Process) -> None:
        self.host, self.state, self.customers, self.up = host, state, customers, up

    def visit(self, name: str) -> tuple[int, str]:
        def visited() -> bytes:
            with connect(443, name) as connection:
                return ask(
                    connection, f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
                )

        try:
            head, _, body = self.host.inside(visited).partition(b"\r\n\r\n")
            return int(head.split(b" ", 2)[1]), body.decode()
        except (OSError, IndexError) as error:
            return 0, repr(error)

    def serves(self, name: str, word: str) -> bool:
        status, body = self.visit(name)
        return status == 200 and body.startswith(f"{word}: asked by 10.77.0.1 for {name}")

    def pid(self, program: str) -> int:
        programs = json.loads((self.state / "up.json").read_text())["programs"]
        return next(int(one["pid"] or 0) for one in programs if one["name"] == program)

    def said(self, *words: str) -> Any:
        argv = [sys.executable, "-m", "edgeward.cli", *words, "-o", "json", "--state-dir", str(self.state)]
        return json.loads(self.host.run(*argv))


@contextmanager
def everything(needs: Callable[[str], str]) -> Iterator[Edge]:
    """Run the example on a host of its own."""
    place = Path(tempfile.mkdtemp(prefix="ew-", dir="/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        host = stack.enter_context(wide_area(place / "wan")).router
        argv = [sys.executable, EXAMPLES / "everything" / "customers.py"]
        customers = stack.enter_context(running(host.within(*argv)))
        until(lambda: "customers are there" in customers.output(), 20, "the customers")
        rootd = Readable(place, stack.enter_context(readable_python(needs)))
        stack.enter_context(rootd.serving(*OPTIONS, before=host.within()))
        state = place / "state"
        argv = [sys.executable, "-m", "edgeward.cli", "up", "-c", EXAMPLES / "everything.yaml"]
        environment = {"EDGEWARD_ROOTD_SOCKET": rootd.socket, "EDGEWARD_USER": "root"}
        up = stack.enter_context(running(host.within(*argv, "--state-dir", state), env=environment))
        made = Edge(host, state, customers, up)
        try:
            yield made
        finally:
            up.end()
            for path in Path(rootd.socket).parent.glob("namespaces/*"):
                rootd.ask("remove-namespace", namespace=path.name)


@pytest.fixture(scope="module")
def edge(needs: Callable[[str], str]) -> Iterator[Edge]:
    with everything(needs) as made:
        yield made


def test_both_customers_are_served_at_the_same_time_each_through_its_own_tunnel(edge: Edge) -> None:
    until(lambda: edge.serves("berlin.example", "berlin"), 40, "berlin")
    until(lambda: edge.serves("paris.example", "paris"), 20, "paris")

    assert edge.serves("berlin.example", "berlin")
    assert {edge.visit("any.both.example")[1].partition(":")[0] for _ in range(8)} == {"berlin", "paris"}


def test_without_its_tunnel_a_customer_gets_503_at_once_and_the_other_one_notices_nothing(edge: Edge) -> None:
    until(lambda: edge.serves("paris.example", "paris"), 40, "paris")

    edge.said("vpn", "terminate", "paris")

    until(lambda: edge.visit("paris.example")[0] == 503, 5, "503")
    assert edge.serves("berlin.example", "berlin")
    assert {edge.visit("any.both.example")[1].partition(":")[0] for _ in range(8)} == {"berlin"}
    edge.said("vpn", "initiate", "paris")
    until(lambda: edge.serves("paris.example", "paris"), 10, "paris")


def test_customers_that_were_killed_are_in_nobodys_way(tmp_path: Path) -> None:
    argv = [sys.executable, EXAMPLES / "everything" / "customers.py"]
    with wide_area(tmp_path) as wan, ExitStack() as stack:

        def started() -> Process:
            return stack.enter_context(running(wan.router.within(*argv)))

        first = started()
        until(lambda: "customers are there" in first.output(), 20, "the customers")
        second = started()
        assert second.wait() == 1
        assert "other customers, or a demo, run on this host already; end them first" in second.output()
        first.send(signal.SIGKILL)
        first.wait()
        third = started()
        until(lambda: "customers are there" in third.output() or not third.alive(), 20, "the customers")
        assert third.alive(), third.output()
        assert wan.router.run("ping", "-c1", "-W5", "198.51.100.12")
        third.send(signal.SIGTERM)
        assert third.wait() == 0
        assert "ew-" not in wan.router.ip("-brief link")


@pytest.mark.slow
def test_visitors_go_through_tunnels_while_the_node_is_killed_and_comes_back(edge: Edge) -> None:
    until(
        lambda: edge.serves("paris.example", "paris") and edge.serves("berlin.example", "berlin"), 40, "both"
    )
    first = edge.pid("node")

    os.kill(first, signal.SIGKILL)

    answers = [edge.visit(f"{name}.example") for _ in range(25) for name in ("paris", "berlin")]
    assert {status for status, _ in answers} == {200}, answers
    until(lambda: edge.pid("node") != first, 20, "the node")
    answers += [edge.visit(f"{name}.example") for _ in range(50) for name in ("paris", "berlin")]
    assert {status for status, _ in answers} == {200}, answers
