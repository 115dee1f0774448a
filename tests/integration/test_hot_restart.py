"""What visitors notice when another Envoy takes over, and when that goes wrong: nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edgeward.launcher.config import find_envoy
from tests.integration.gateway_rig import ShowingBackend
from tests.integration.node_rig import Rig, rig
from tests.integration.processes import is_alive, until
from tests.integration.test_launcher import executable
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
    serve(edge, backend, "--concurrency", "2", "--restart-drain-seconds", "300")
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
    serve(edge, backend, "--restart-drain-seconds", "120")
    old = edge.envoy_pid()
    seen = Visitors(edge.port, _NAME, pause=0.2)
    seen.add(4, "http1")
    seen.add(4, "h2")
    seen.start()
    try:
        until(lambda: seen.answers["h2"] > 4 and seen.answers["http1"] > 4, what="the first answers")
        edge.hot_restart()
        until(lambda: not is_alive(old), what="the end of the old Envoy, long before it has to")
    finally:
        seen.stop()

    assert seen.errors == []
    assert seen.moves["http1"] >= 4 and seen.moves["h2"] >= 4


# --- a new Envoy that does not come up ----------------------------------------------------------


def replaceable(state_dir: Path) -> Path:
    """Give a binary of Envoy that a test may replace: a link to the real one."""
    path = state_dir / "envoy"
    path.symlink_to(find_envoy(None))
    return path


def replace(path: Path, script: str) -> None:
    """Put a script there in one step, as packagers do; ``$ENVOY`` is the real one."""
    draft = path.with_name("draft")
    executable(draft, f"#!/bin/sh\nENVOY={find_envoy(None)}\n{script}\n")
    draft.replace(path)


_VALIDATES = 'case "$*" in *validate*|*--hot-restart-version*) exec "$ENVOY" "$@";; esac'


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        pytest.param(
            "echo broken >&2; exit 1", "does not take its bootstrap: broken", marks=pytest.mark.slow
        ),
        pytest.param(
            f"{_VALIDATES}; exit 1", "the new Envoy did not come up: exit code 1", marks=pytest.mark.slow
        ),
        (
            f'{_VALIDATES}; sed s/xds.sock/none.sock/ "$2" > "$2.x"; c="$2.x"; shift 2;'
            ' "$ENVOY" -c "$c" "$@" & sleep 1.5; kill -9 $!; exit 3',
            "the new Envoy did not come up: exit code 3",
        ),
    ],
    ids=["refused", "dies", "dies later"],
)
def test_a_binary_that_does_not_work_harms_no_visitor_and_the_next_good_one_takes_over(
    edge: Rig, backend: ShowingBackend, state_dir: Path, script: str, reason: str
) -> None:
    binary = replaceable(state_dir)
    serve(edge, backend, "--envoy", str(binary), "--restart-drain-seconds", "30")
    old = edge.envoy_pid()
    seen = Visitors(edge.port, _NAME, pause=0.2)
    for kind in ("http1", "h2", "websocket", "fresh"):
        seen.add(1, kind)
    seen.start()
    try:
        replace(binary, script)  # it is found by itself
        until(lambda: edge.envoy_record()["last_restart"], 30, "the failed restart")
        failed = edge.envoy_record()
        seen_by_node = edge.metric("edgeward_node_envoy_up")[""]
        replace(binary, 'exec "$ENVOY" "$@"')
        until(lambda: edge.envoy_record()["hot_restarts"] == 1, 30, "the restart that works")
        until(lambda: edge.metric("edgeward_node_envoy_up")[""] == 1, what="what the node sees")
    finally:
        seen.stop()

    assert (failed["last_restart"]["outcome"], failed["pid"], failed["state"]) == ("failed", old, "serving")
    assert reason in failed["last_restart"]["text"]
    assert seen_by_node == 1
    assert edge.envoy_pid() != old
    assert seen.errors == []


@pytest.mark.slow
def test_an_envoy_that_never_serves_is_given_up_and_another_can_take_over(
    edge: Rig, backend: ShowingBackend, state_dir: Path
) -> None:
    binary = replaceable(state_dir)
    serve(edge, backend, "--envoy", str(binary))
    replace(binary, f"{_VALIDATES}; exec sleep 60")
    until(lambda: edge.envoy_record()["last_restart"], 50, "the failed restart")
    said = edge.envoy_record()

    assert "did not serve within 30 s" in said["last_restart"]["text"]
    assert said["starting"] is None
    assert edge.visit(_NAME)


def test_a_restart_without_the_node_is_refused_at_once(edge: Rig, backend: ShowingBackend) -> None:
    serve(edge, backend)
    old = edge.envoy_pid()
    edge.kill_node()
    (edge.node_dir / "xds.sock").unlink(missing_ok=True)
    answer = edge.hot_restart()

    assert answer["outcome"] == "failed"
    assert "the node does not answer" in answer["text"]
    assert edge.envoy_pid() == old
    assert edge.visit(_NAME)


def test_an_envoy_that_cannot_take_over_is_started_once_the_old_one_has_let_its_visitors_go(
    edge: Rig, backend: ShowingBackend, state_dir: Path
) -> None:
    binary, asked = replaceable(state_dir), state_dir / "asked"
    replace(
        binary,
        f'case "$*" in --hot-restart-version) "$ENVOY" "$@"; : >{asked}; exit 0;; esac; exec "$ENVOY" "$@"',
    )
    serve(edge, backend, "--envoy", str(binary))
    old = edge.envoy_pid()
    until(asked.exists, what="being asked for its version, which it is once it serves")
    time.sleep(0.5)
    replace(binary, 'case "$*" in --hot-restart-version) echo 99.104; exit 0;; esac; exec "$ENVOY" "$@"')
    answer = edge.hot_restart()

    assert answer["outcome"] == "cold"
    assert "hot restart version 99.104 cannot take over from one of 11.104" in answer["text"]
    assert not is_alive(old)
    assert edge.visit(_NAME)


# --- kill -9 at any moment -----------------------------------------------------------------------


def kill(edge: Rig, victim: str, old: int) -> None:
    """Kill one of them, whatever state it is in."""
    said = edge.envoy_record()
    newest = said["starting"] or {"pid": said["pid"]}
    pid = {"old": old, "new": newest["pid"], "launcher": said["launcher"]}[victim]
    with suppress(ProcessLookupError, TypeError):
        os.kill(pid, signal.SIGKILL)


def is_whole(edge: Rig, killed: set[int]) -> bool:
    """Tell whether one Envoy that was not killed serves, by its launcher's word and a visitor's."""
    said = edge.envoy_record()
    serves = said["state"] == "serving" and said["starting"] is None and said["pid"] not in killed
    return bool(serves and is_alive(said["pid"]) and edge.listening() and edge.visit(_NAME, 2.0))


def envoys(edge: Rig) -> set[int]:
    """Give the pids of all Envoys that run on this state directory."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            arguments = (place / "cmdline").read_bytes().split(b"\0")
            if os.fsencode(edge.node_dir / "bootstrap.json") in arguments and is_alive(int(place.name)):
                found.add(int(place.name))
    return found


def kill_during_a_restart(edge: Rig, victim: str, seconds: float) -> None:
    """Ask for a restart, kill the victim so many seconds later, and see that all is well again."""
    assert edge.envoy is not None
    old, bases = edge.envoy_pid(), _bases(edge)
    edge.envoy.send(signal.SIGHUP)
    time.sleep(seconds)
    kill(edge, victim, old)
    if victim == "launcher":
        edge.envoy.wait()
        edge.start_envoy("--restart-drain-seconds", "1")  # as its supervisor does
    until(lambda: is_whole(edge, {old} if victim == "old" else set()), 20, "serving again")
    until(lambda: envoys(edge) == {edge.envoy_pid()}, 20, "the end of all others")
    left = {base for base in bases - _bases(edge) if (Path("/dev/shm") / f"{_PREFIX}{base * 10}").exists()}
    assert not left


@pytest.mark.parametrize("victim", ["old", "new", "launcher"])
def test_whoever_is_killed_while_another_envoy_takes_over_it_is_served_again(
    edge: Rig, backend: ShowingBackend, victim: str
) -> None:
    serve(edge, backend, "--restart-drain-seconds", "1")
    for seconds in (0.2, 0.6):
        kill_during_a_restart(edge, victim, seconds)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["old", "new", "launcher"])
def test_whoever_is_killed_at_any_moment_of_a_restart_it_is_served_again(
    edge: Rig, backend: ShowingBackend, victim: str
) -> None:
    serve(edge, backend, "--restart-drain-seconds", "1")
    for step in range(12):  # whoever dies again and again is started later and later, up to 10 s
        kill_during_a_restart(edge, victim, step * 0.05)


@pytest.mark.slow
def test_an_envoy_whose_predecessor_was_killed_goes_on_taking_changes(
    edge: Rig, backend: ShowingBackend, free_port: Callable[[], int]
) -> None:
    serve(edge, backend)
    old = edge.envoy_pid()
    edge.hot_restart()
    new, more = edge.envoy_pid(), free_port()
    os.kill(old, signal.SIGKILL)
    edge.controller.declare(https=[f"127.0.0.1:{edge.port}", f"127.0.0.1:{more}"])
    in_force(edge)
    time.sleep(12)  # without somebody to answer it, Envoy aborts 10 s after it has a new listener

    assert edge.envoy_pid() == new
    assert edge.visit(_NAME)


def test_an_envoy_that_dies_just_after_it_took_over_is_replaced_and_the_old_visitors_stay(
    edge: Rig, backend: ShowingBackend, state_dir: Path
) -> None:
    binary = replaceable(state_dir)
    serve(edge, backend, "--envoy", str(binary), "--restart-drain-seconds", "30")
    old, seen = edge.envoy_pid(), Visitors(edge.port, _NAME)
    seen.add(2, "websocket")
    seen.start()
    try:
        until(lambda: seen.answers["websocket"] > 2, what="the first answers")
        replace(  # the launcher cannot see that it serves, so that it is certain to die before that
            binary,
            f'{_VALIDATES}; case "$*" in *"--restart-epoch 0"*) exec "$ENVOY" "$@";; esac;'
            ' sed s/admin.sock/none.sock/ "$2" > "$2.x"; c="$2.x"; shift 2;'
            ' "$ENVOY" -c "$c" "$@" & sleep 1.5; kill -9 $!; exit 3',
        )
        text = edge.hot_restart()["text"]
        until(lambda: edge.envoy_record()["state"] == "serving" and edge.visit(_NAME), what="another Envoy")
        said, answered = edge.envoy_record(), seen.answers["websocket"]
        until(lambda: seen.answers["websocket"] > answered + 4, what="more answers")
    finally:
        seen.stop()

    assert "when it had taken over already" in text
    assert [one["pid"] for one in said["draining"]] == [old]
    assert said["epoch"] == 0
    assert seen.errors == []
