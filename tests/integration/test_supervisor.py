"""The supervisor of `edgeward up` over small programs: restarts, order of ending, readiness, nobody left."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration import supervised
from tests.integration.processes import Running, is_alive, until


def supervisor(state_dir: Path, *programs: str) -> list[str | Path]:
    return [sys.executable, supervised.__file__, state_dir, *programs]


def programs(state_dir: Path) -> dict[str, dict[str, Any]]:
    path = state_dir / "up.json"
    record = json.loads(path.read_text()) if path.exists() else {"programs": []}
    return {program["name"]: program for program in record["programs"]}


def is_ready(state_dir: Path, count: int) -> Callable[[], bool]:
    def ready() -> bool:
        found = programs(state_dir)
        return len(found) == count and all(p["state"] == "ready" for p in found.values())

    return ready


def events(state_dir: Path) -> list[str]:
    path = state_dir / "events"
    return path.read_text().splitlines() if path.exists() else []


def test_the_last_program_ends_first(running: Running, state_dir: Path) -> None:
    argv = supervisor(state_dir, "controller=steady", "node=steady", "envoy=steady")
    with running(argv) as process:
        until(is_ready(state_dir, 3), what="readiness of all")
        process.send(signal.SIGTERM)

        assert process.wait() == 0

    assert events(state_dir)[-3:] == ["envoy SIGTERM", "node SIGTERM", "controller SIGTERM"]
    assert {p["state"] for p in programs(state_dir).values()} == {"ended"}


def test_a_killed_program_is_started_again_and_the_others_stay(running: Running, state_dir: Path) -> None:
    with running(supervisor(state_dir, "controller=steady", "node=steady")):
        until(is_ready(state_dir, 2), what="readiness of both")
        before = programs(state_dir)
        os.kill(before["node"]["pid"], signal.SIGKILL)
        until(lambda: programs(state_dir)["node"]["restarts"] == 1, what="a restart")
        until(is_ready(state_dir, 2), what="readiness of both again")
        after = programs(state_dir)

    assert after["node"]["pid"] != before["node"]["pid"]
    assert after["node"]["last_exit"] == "killed by SIGKILL"
    assert after["controller"]["pid"] == before["controller"]["pid"]


def test_a_crash_loop_waits_longer_each_time_and_is_seen(running: Running, state_dir: Path) -> None:
    with running(supervisor(state_dir, "node=crashing")) as process:
        until(lambda: programs(state_dir).get("node", {}).get("restarts", 0) >= 3, what="three restarts")
        delays = [line["delay_seconds"] for line in map(json.loads, process.output().splitlines())]

    assert delays[:3] == [0.0, 0.5, 1.0]


def test_what_can_never_run_ends_everything_with_exit_code_2(running: Running, state_dir: Path) -> None:
    with running(supervisor(state_dir, "controller=hopeless", "envoy=steady")) as process:
        assert process.wait() == 2

    assert programs(state_dir)["controller"]["last_exit"] == "exit code 2"


def test_no_program_outlives_a_killed_supervisor(running: Running, state_dir: Path) -> None:
    with running(supervisor(state_dir, "controller=steady", "node=stubborn")) as process:
        until(is_ready(state_dir, 2), what="readiness of both")
        pids = [program["pid"] for program in programs(state_dir).values()]
        process.send(signal.SIGKILL)
        process.wait()

        until(lambda: not any(map(is_alive, pids)), what="the end of all programs")


def test_a_program_that_ignores_sigterm_is_killed(running: Running, state_dir: Path) -> None:
    with running(supervisor(state_dir, "controller=steady", "node=stubborn")) as process:
        until(is_ready(state_dir, 2), what="readiness of both")
        pid = programs(state_dir)["node"]["pid"]
        process.send(signal.SIGTERM)

        assert process.wait() == 0
        assert not is_alive(pid)
        assert "node did not end in time and is killed" in process.output()


def test_a_second_signal_hurries(running: Running, state_dir: Path) -> None:
    argv = supervisor(state_dir, "controller=steady", "node=stubborn", "envoy=stubborn")
    with running(argv) as process:
        until(is_ready(state_dir, 3), what="readiness of all")
        process.send(signal.SIGTERM)
        until(lambda: programs(state_dir)["envoy"]["state"] != "ready", what="the first signal's effect")
        process.send(signal.SIGTERM)

        assert process.wait() == 0

    assert events(state_dir)[-1] == "controller SIGTERM"


def test_sighup_reaches_the_controller_only(running: Running, state_dir: Path) -> None:
    with running(supervisor(state_dir, "controller=steady", "node=steady")) as process:
        until(is_ready(state_dir, 2), what="readiness of both")
        process.send(signal.SIGHUP)
        until(lambda: "controller SIGHUP" in events(state_dir), what="SIGHUP at the controller")

        assert process.alive()
        assert "node SIGHUP" not in events(state_dir)


def test_the_service_manager_hears_ready_only_once_all_are(running: Running, state_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(state_dir / "manager.sock"))
        manager.settimeout(30)
        environment = {"NOTIFY_SOCKET": str(state_dir / "manager.sock"), "WATCHDOG_USEC": "200000"}
        with running(supervisor(state_dir, "controller=steady", "node=crashing"), env=environment):
            until(lambda: programs(state_dir).get("node", {}).get("restarts", 0) >= 2, what="restarts")
            manager.setblocking(False)
            heard = []
            while True:
                try:
                    heard.append(manager.recv(4096))
                except BlockingIOError:
                    break
            assert b"WATCHDOG=1" in heard
            assert not any(b"READY=1" in message for message in heard)

        manager.settimeout(30)
        (state_dir / "up.json").unlink()
        with running(supervisor(state_dir, "controller=steady"), env=environment):
            while b"READY=1" not in manager.recv(4096):
                pass


def test_the_record_is_for_its_owner_only(running: Running, state_dir: Path) -> None:
    with running(supervisor(state_dir, "controller=steady")):
        until(is_ready(state_dir, 1), what="readiness")

        assert (state_dir / "up.json").stat().st_mode & 0o777 == 0o600
        assert programs(state_dir)["controller"]["status"] == "doing well"
