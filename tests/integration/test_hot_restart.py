"""What visitors notice when another Envoy takes over, and when that goes wrong: nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.gateway_rig import ShowingBackend
from tests.integration.node_rig import Rig, rig
from tests.integration.processes import is_alive, until
from tests.integration.visitors import Visitors

_NAME = "shop.example"
_PREFIX = "envoy_shared_memory_"


@pytest.fixture
def edge(state_dir: Path) -> Iterator[Rig]:
    with rig(state_dir) as made:
        yield made
        bases = _bases(made)
    assert not [b for b in bases if (Path("/dev/shm") / f"{_PREFIX}{b * 10}").exists()]


@pytest.fixture
def backend() -> Iterator[ShowingBackend]:
    made = ShowingBackend()
    yield made
    made.close()


def _bases(edge: Rig) -> set[int]:
    said = edge.envoy_record()
    found = {place["base"] for place in (said, *said["draining"])}
    return {base for base in found if base is not None}


def serve(edge: Rig, backend: ShowingBackend, *options: str) -> None:
    """Have the edge serve one name, whose requests go to the backend."""
    edge.start(*options)
    declare(edge, backend.port)
    edge.controller.certify(_NAME)
    in_force(edge)
    until(lambda: edge.visit(_NAME), what="the name being served")


def declare(edge: Rig, port: int, **route: Any) -> None:
    edge.controller.change(
        {
            ("domains", _NAME): {"name": _NAME},
            ("services", "shop"): {"name": "shop", "backends": [f"http://127.0.0.1:{port}"]},
            ("routes", "shop"): {"name": "shop", "hosts": [_NAME], "service": "shop", **route},
        }
    )


def in_force(edge: Rig) -> None:
    def is_in_force() -> bool:
        return edge.metric("edgeward_node_revision_in_force")[""] == edge.controller.revision

    until(is_in_force, what="the revision in force")


def change(edge: Rig, count: int, free_port: Callable[[], int]) -> None:
    """Make one change, another kind each time."""
    kinds: list[Callable[[], object]] = [
        lambda: edge.controller.change(
            {
                ("routes", "shop"): {
                    "name": "shop", "hosts": [_NAME, f"n{count}.example"], "service": "shop",
                }
            }
        ),
        lambda: edge.controller.declare(f"n{count}.example"),
        lambda: edge.controller.certify(_NAME),
        lambda: edge.controller.declare(
            https=[f"127.0.0.1:{edge.port}", f"127.0.0.1:{free_port()}"]
        ),
    ]  # fmt: skip
    kinds[count % len(kinds)]()


def stay(
    edge: Rig, visitors: dict[str, int], changes: int, free_port: Callable[[], int], pause: float = 0.05
) -> Visitors:
    """Have visitors stay through three hot restarts and changes between; gives what they saw."""
    seen = Visitors(edge.port, _NAME, pause)
    for kind, count in visitors.items():
        seen.add(count, kind)
    seen.start()
    try:
        until(lambda: seen.answers["websocket"] > 0 and seen.answers["h2"] > 0, what="the first answers")
        for number in range(changes):
            change(edge, number, free_port)
            time.sleep(0.1)
            if number in (changes // 4, changes // 2, 3 * changes // 4):
                assert edge.hot_restart()["outcome"] == "hot"
        in_force(edge)
        handed = seen.answers.copy()
        until(lambda: all(seen.answers[k] > handed[k] + visitors[k] for k in visitors), 30, "more answers")
    finally:
        seen.stop()
    return seen


def test_visitors_stay_through_three_restarts_and_changes_without_an_error(
    edge: Rig, backend: ShowingBackend, free_port: Callable[[], int]
) -> None:
    serve(edge, backend, "--concurrency", "2", "--restart-drain-seconds", "60")
    seen = stay(edge, {"http1": 6, "h2": 6, "websocket": 4, "fresh": 1}, 12, free_port)

    assert seen.errors == []
    assert seen.moves["websocket"] == 0
    assert edge.envoy_record()["hot_restarts"] == 3


@pytest.mark.slow
def test_two_hundred_visitors_stay_through_three_restarts_and_twenty_changes_without_an_error(
    edge: Rig, backend: ShowingBackend, free_port: Callable[[], int]
) -> None:
    serve(edge, backend, "--concurrency", "2", "--restart-drain-seconds", "90")
    seen = stay(edge, {"http1": 100, "h2": 100, "websocket": 100, "fresh": 2}, 20, free_port, pause=0.5)

    assert seen.errors == []
    assert seen.moves["websocket"] == 0


def test_the_old_envoy_tells_its_visitors_to_go_and_ends_once_they_have(
    edge: Rig, backend: ShowingBackend
) -> None:
    serve(edge, backend, "--restart-drain-seconds", "12")
    old = edge.envoy_pid()
    seen = Visitors(edge.port, _NAME, pause=0.2)
    seen.add(4, "http1")
    seen.add(4, "h2")
    seen.start()
    try:
        until(lambda: seen.answers["h2"] > 4 and seen.answers["http1"] > 4, what="the first answers")
        edge.hot_restart()
        until(lambda: not is_alive(old), 11.5, "the end of the old Envoy")
    finally:
        seen.stop()

    assert seen.errors == []
    assert seen.moves["http1"] >= 4 and seen.moves["h2"] >= 4
