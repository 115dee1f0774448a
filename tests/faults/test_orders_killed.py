"""A controller killed as it puts down any step of an order: one order, one certificate, nothing lost."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.faults.injection import SYNCS, killed_at
from tests.integration.acme import Pebble, pebble
from tests.integration.controller_setup import Controller
from tests.integration.processes import Process, until


@pytest.fixture
def authority(state_dir: Path, needs: Callable[[str], str]) -> Iterator[Pebble]:
    with pebble(state_dir / "pebble", needs, always_valid=True) as made:
        yield made


def declared(authority: Pebble, names: list[str]) -> str:
    acme = f'directory: "{authority.directory}", ca_file: "{authority.ca_file}"'
    domains = "".join(f"  - {{name: {name}, issuer: pebble}}\n" for name in names)
    return f"version: 1\nissuers:\n  - {{name: pebble, acme: {{{acme}}}}}\ndomains:\n{domains}"


def has(controller: Controller, names: list[str]) -> bool:
    try:
        with controller.client() as client:
            return all(client.get(f"/v1/certificates/{name}").status_code == 200 for name in names)
    except httpx.TransportError:  # it died while it was asked
        return False


def over(process: Process, controller: Controller, names: list[str]) -> bool:
    """Whether it is dead; what has no more syncs than this in any thread is through."""
    return not process.alive() or (controller.answers() and has(controller, names))


def killed_at_each(
    state_dir: Path, authority: Pebble, needs: Callable[[str], str], nths: range, least: int
) -> None:
    controller = Controller(state_dir / "state", env={"EDGEWARD_DNS_SERVERS": authority.names.address})
    names = ["first.example.com"]
    controller.declare(declared(authority, names))
    with controller.start():
        until(lambda: has(controller, names), 30, "the first certificate")
    killed = 0
    for nth in nths:
        fresh = [f"n{nth}-{i}.example.com" for i in range(2)]
        names += fresh
        controller.declare(declared(authority, names))
        wrapper = killed_at(needs("strace"), SYNCS, nth, state_dir / f"trace{nth}")
        with controller.start(wrapper=wrapper, ready=False) as process:
            until(partial(over, process, controller, fresh), 60)
            killed += process.returncode == -signal.SIGKILL
        with controller.start():
            until(partial(has, controller, fresh), 60, f"what was killed at sync {nth}")
        assert authority.orders() == len(names), nth
        assert authority.issued() == len(names), nth
    assert killed >= least


@pytest.mark.slow
@pytest.mark.parametrize("first", [2, 5, 8, 11])
def test_an_order_survives_a_kill_at_every_sync(
    state_dir: Path, authority: Pebble, needs: Callable[[str], str], first: int
) -> None:
    killed_at_each(state_dir, authority, needs, range(first, first + 3), least=2 if first < 8 else 0)
