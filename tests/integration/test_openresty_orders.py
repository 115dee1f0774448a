"""The facade with names that a real authority (Pebble) has to issue: orders, patience, and who hears of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.acme import Needs, Pebble, pebble
from tests.integration.acme_faults import Lose, Proxy, proxy
from tests.integration.controller_setup import Controller
from tests.integration.openresty_rig import Rig, names_of
from tests.integration.processes import until

ISSUER = """issuers:
  - {{name: pebble, acme: {{directory: "{directory}", ca_file: "{ca_file}"}}}}
"""


@pytest.fixture
def authority(state_dir: Path, needs: Needs) -> Iterator[Pebble]:
    with pebble(state_dir, needs, always_valid=True) as made:
        yield made


@pytest.fixture
def between(authority: Pebble) -> Iterator[Proxy]:
    with proxy(authority) as made:
        yield made


@pytest.fixture
def rig(tmp_path: Path, authority: Pebble, between: Proxy) -> Rig:
    env = {"EDGEWARD_DNS_SERVERS": authority.names.address}
    made = Rig(tmp_path, Controller(tmp_path / "state", env=env))
    made.declare(gateway=True, domains='  - {name: "*.o.example", on_demand: true, issuer: pebble}\n')
    issuer = ISSUER.format(directory=between.directory, ca_file=authority.ca_file)
    text = made.controller.file.read_text().replace("issuers:\n", issuer, 1)
    made.controller.declare(text.replace("  secret:", "  autocert_seconds: 2\n  secret:", 1))
    return made


def test_four_handshakes_at_once_make_one_order_and_a_slow_one_goes_on_and_is_flushed_for(
    rig: Rig,
    authority: Pebble,
    between: Proxy,
    nginx: str,
) -> None:
    """One test: each start of all these programs costs seconds."""
    with rig.started_nginx(nginx, use=rig.handshake()), rig.started(), ThreadPoolExecutor(4) as pool:
        until(lambda: rig.gateway_is("flushed"))
        before = authority.orders()

        answers = list(pool.map(lambda _: rig.autocert("four.o.example"), range(4)))

        assert {answer.status_code for answer in answers} <= {200, 202}
        until(lambda: rig.lookup("four.o.example").status_code == 200, what="the certificate")
        assert authority.orders() == before + 1

        between.once("finalize", Lose(lambda: time.sleep(4)))
        began = time.monotonic()
        slow = rig.autocert("slow.o.example")

        assert slow.status_code == 202
        assert slow.headers["connection"] == "close"
        assert isinstance(slow.json(), dict)
        assert time.monotonic() - began < 30
        between.once("finalize", Lose(lambda: time.sleep(4)))
        assert names_of(rig.visit("seen.o.example")) == ["default.invalid"]  # now kept for 600 s
        until(lambda: names_of(rig.visit("seen.o.example")) == ["seen.o.example"], 40, what="the flush")
        assert rig.lookup("slow.o.example").status_code == 200
        assert authority.orders() == before + 3
