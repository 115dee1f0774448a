"""Ten ways to break the example with everything, each for real: explain finds which step it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeward.errors import EdgewardError
from tests.integration import test_everything as rig
from tests.integration.processes import until
from tests.integration.test_everything import EXAMPLES, Edge

pytestmark, edge = [*rig.pytestmark, pytest.mark.slow], rig.edge
BERLIN, PARIS = "berlin.example", "paris.example"


@pytest.fixture
def well(edge: Edge) -> Edge:
    until(lambda: edge.visit(BERLIN)[0] != 0, 60, "the edge is there")
    declare(edge)
    until(lambda: edge.serves(BERLIN, "berlin") and edge.serves(PARIS, "paris"), 60, "both customers")
    return edge


def declare(edge: Edge, **changes: Any) -> None:
    """Declare the example with other sections, in place of what its file says."""
    document = {**yaml.safe_load((EXAMPLES / "everything.yaml").read_text()), **changes}
    path = edge.state / "changed.yaml"
    path.write_text(yaml.safe_dump(document))
    argv = ["-m", "edgeward.cli", "apply", "-f", str(path), "--take-over", "--state-dir", str(edge.state)]
    edge.host.run(rig.sys.executable, *argv)


def section(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((EXAMPLES / "everything.yaml").read_text())[name]
    return found


def broken(edge: Edge, what: str, step: str, seconds: float = 40) -> str:
    """Wait until explain ends at this step; gives cause and remedy."""
    last: dict[str, Any] = {}

    def ends_there() -> bool:
        nonlocal last
        last = edge.said("explain", what)["steps"][-1]
        return (last["state"], last["step"]) == ("broken", step)

    until(ends_there, seconds, lambda: f"{step}, but {last}")
    assert last["cause"] and last["remedy"], last
    return f"{last['cause']}; {last['remedy']}"


def pids(*words: str) -> list[int]:
    """Give the processes whose command line has all of these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if all(word in line for word in words):
                found.append(int(path.parent.name))
    return found


@contextmanager
def stopped(*which: int) -> Iterator[None]:
    """Have processes stand still until the block ends."""
    assert which
    for pid in which:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in which:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def daemon(edge: Edge, site: str) -> int:
    """Give the charon of a site's gateway here."""
    gateway = edge.said("vpn", "status", site)["gateway"]["id"]
    place = next(p for p in Path(edge.state.parent).glob(f"**/vpn/vpn-{gateway}/daemon"))
    return int(place.read_text().split()[0])


def test_one_a_tunnel_that_somebody_ended(well: Edge) -> None:
    well.said("vpn", "terminate", "paris")
    assert "ended here" in broken(well, PARIS, "peer")
    assert well.said("explain", BERLIN)["well"]
    well.said("vpn", "initiate", "paris")


def test_two_another_secret_than_the_customer_has(well: Edge) -> None:
    sites = [{**one, "secret": "another one"} if one["name"] == "paris" else one for one in section("vpn")]
    declare(well, vpn=sites)
    with suppress(AssertionError, EdgewardError):
        well.said("vpn", "initiate", "paris")
    assert "pre-shared" in broken(well, "vpn/paris", "peer")


def test_three_networks_the_customer_does_not_have(well: Edge) -> None:
    sites = [
        {**one, "remote_networks": "172.16.4.0/24"} if one["name"] == "paris" else one
        for one in section("vpn")
    ]
    service = {"name": "paris", "backends": [{"url": "http://172.16.4.10", "via": "paris"}]}
    declare(
        well, vpn=sites, services=[service], routes=[{"name": "paris", "hosts": [PARIS], "service": "paris"}]
    )
    assert "network" in broken(well, PARIS, "peer")


def test_four_a_daemon_that_hangs(well: Edge) -> None:
    with stopped(daemon(well, "paris")):
        broken(well, PARIS, "daemon", 60)


def test_five_a_route_that_leads_nobody_there(well: Edge) -> None:
    declare(well, routes=[one for one in section("routes") if one["name"] != "paris"])
    assert "no route leads paris.example" in broken(well, PARIS, "route")


def test_six_a_name_that_is_withheld(well: Edge) -> None:
    declare(well, withheld=[{"name": PARIS}])
    assert "deactivated" in broken(well, PARIS, "policy")


def test_seven_a_site_that_is_switched_off(well: Edge) -> None:
    sites = [{**one, "enabled": one["name"] != "paris"} for one in section("vpn")]
    declare(well, vpn=sites)
    assert "enabled: true" in broken(well, PARIS, "tunnel")


def test_eight_a_port_that_nothing_listens_at_behind_the_tunnel(well: Edge) -> None:
    service = {"name": "paris", "backends": [{"url": "http://192.168.4.10:81", "via": "paris"}]}
    declare(well, services=[service if one["name"] == "paris" else one for one in section("services")])
    assert "81" in broken(well, PARIS, "backend")


def test_nine_a_node_that_hangs(well: Edge) -> None:
    with stopped(*pids("edgeward.node", str(well.state))):
        assert "no node is connected" in broken(well, PARIS, "node", 60)


def test_ten_a_server_that_was_killed(well: Edge) -> None:
    for pid in pids("demo.customers", "serve", "paris"):
        os.kill(pid, signal.SIGKILL)
    broken(well, PARIS, "backend")
    assert "no service" in broken(well, "relay/paris/192.168.4.77:80", "service")
