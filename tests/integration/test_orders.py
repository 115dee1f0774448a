"""A real controller orders from Pebble: once a name, whatever is killed when, and tells what it waits for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.acme import Needs, pebble
from tests.integration.acme_faults import Lose, Proxy, Say, Stall, proxy
from tests.integration.controller_setup import Controller
from tests.integration.processes import Process, until

QUICK = [("newOrder", Lose), ("finalize", Stall)]
ALL = [
    (what, fault)
    for what in ("newAccount", "newOrder", "authorization", "challenge", "order", "finalize", "certificate")
    for fault in (Stall, Lose)
]
NAME = "shop.example.com"


@pytest.fixture
def controller(state_dir: Path, between: Proxy) -> Controller:
    dns = {"EDGEWARD_DNS_SERVERS": between.authority.names.address}
    made = Controller(state_dir / "state", env=dns)
    made.declare(declared(between, [NAME]))
    return made


def declared(between: Proxy, names: list[str], more: str = "") -> str:
    acme = f'directory: "{between.directory}", ca_file: "{between.authority.ca_file}"'
    domains = "".join(f"  - {{name: {name}, issuer: pebble}}\n" for name in names)
    return f"version: 1\nissuers:\n  - {{name: pebble, acme: {{{acme}{more}}}}}\ndomains:\n{domains}"


def certificate(controller: Controller, name: str) -> dict[str, object] | None:
    with controller.client() as client:
        answer = client.get(f"/v1/certificates/{name}")
    return answer.json() if answer.status_code == 200 else None


def has_one(controller: Controller, name: str) -> bool:
    return certificate(controller, name) is not None


@pytest.mark.parametrize(("what", "fault"), QUICK)
def test_a_controller_killed_in_an_order_goes_on_with_it(
    controller: Controller, between: Proxy, what: str, fault: type[Lose] | type[Stall]
) -> None:
    orders, issued = between.authority.orders(), between.authority.issued()
    processes: list[Process] = []
    between.once(what, fault(lambda: os.kill(processes[0].pid, signal.SIGKILL)))
    with controller.start(ready=False) as process:
        processes.append(process)
        until(lambda: not process.alive(), 30, what=f"a request of {what}")
    assert process.returncode == -signal.SIGKILL
    with controller.start():
        until(lambda: has_one(controller, NAME), 30, what="the certificate")

    assert between.authority.orders() == orders + 1
    assert between.authority.issued() == issued + 1


@pytest.mark.slow
@pytest.mark.parametrize(("what", "fault"), [one for one in ALL if one not in QUICK])
def test_a_controller_killed_anywhere_in_an_order_goes_on_with_it(
    controller: Controller, between: Proxy, what: str, fault: type[Lose] | type[Stall]
) -> None:
    test_a_controller_killed_in_an_order_goes_on_with_it(controller, between, what, fault)


def test_the_queue_is_watched_until_nothing_waits(
    controller: Controller, between: Proxy, state_dir: Path
) -> None:
    names = [f"shop{i}.example.com" for i in range(12)]
    controller.declare(declared(between, names, ", parallel: 3"))
    command = [
        sys.executable,
        "-m",
        "edgeward.cli",
        "get",
        "orders",
        "--state-dir",
        str(controller.state_dir),
    ]
    with controller.start():
        until(lambda: between.count("newOrder"), 30, what="the first order")
        watched = subprocess.run([*command, "--watch"], capture_output=True, text=True, timeout=60)
        left = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, timeout=60)
        with controller.client() as client:
            progress = client.get("/v1/orders/progress").json()
            made = client.get("/v1/certificates").json()["items"]
            past = client.get(f"/v1/certificates/{names[0]}/history").json()["items"]

    assert watched.returncode == 0, watched.stderr
    assert "12 issued in the last 10 min" in watched.stdout.splitlines()[-1]
    assert json.loads(left.stdout) == []
    assert progress["orders"] == {"waiting": 0, "working": 0, "failed": 0}
    assert {one["name"] for one in made} == set(names)
    assert {one["issuer"] for one in made} == {"pebble"}
    assert [line["outcome"] for line in past] == ["issued"]


@pytest.mark.slow
def test_a_certificate_is_renewed_when_its_authority_says_so(
    state_dir: Path, needs: Needs, tmp_path: Path
) -> None:
    with (
        pebble(tmp_path, needs, always_valid=True, lifetime=200, strict=False) as authority,
        proxy(authority) as between,
    ):
        between.adds = {"renewalInfo": f"{between.url}/renewal-info"}
        window = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
        later = {"start": "2100-01-01T00:00:00Z", "end": "2100-01-02T00:00:00Z"}
        asked: list[str] = []

        def rule(what: str, _payload: object) -> Say | None:
            if what != "renewal-info":
                return None
            asked.append(what)
            return Say(200, {"suggestedWindow": window if len(asked) == 1 else later})

        between.rule = rule
        controller = Controller(state_dir / "state", env={"EDGEWARD_DNS_SERVERS": authority.names.address})
        controller.declare(declared(between, [NAME]))
        with controller.start():
            until(lambda: has_one(controller, NAME), 30, "the certificate")
            first = certificate(controller, NAME)
            until(lambda: between.count("newOrder") == 2, 60, "the renewal")
            until(lambda: certificate(controller, NAME) != first, 30, "the new certificate")
            until(lambda: len(asked) == 2, 30, "being asked about the new one")

    orders = [request.payload for request in between.seen if request.what == "newOrder"]
    assert "replaces" not in orders[0]
    assert orders[1]["replaces"].count(".") == 1
