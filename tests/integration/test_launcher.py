"""The launcher with the real Envoy and no discovery server: start, restart, drain, and nothing left behind."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.processes import Running, is_alive, until


def launcher(state_dir: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-P", "-m", "edgeward.launcher", "--state-dir", str(state_dir),
        "--concurrency", "1", *more,
    ]  # fmt: skip


def record(state_dir: Path) -> dict[str, Any]:
    path = state_dir / "node/envoy.json"
    return json.loads(path.read_text()) if path.exists() else {}


def envoy_pid(state_dir: Path) -> int:
    until(lambda: record(state_dir).get("pid"), what="Envoy's pid in envoy.json")
    return int(record(state_dir)["pid"])


def test_envoy_starts_without_a_discovery_server_and_ends_with_sigterm(
    running: Running, state_dir: Path
) -> None:
    with running(launcher(state_dir)) as process:
        pid = envoy_pid(state_dir)
        until((state_dir / "node/admin.sock").exists, what="the admin socket")
        process.send(signal.SIGTERM)

        assert process.wait() == 0
        assert not is_alive(pid)
        assert record(state_dir)["state"] == "down"


def test_every_line_it_writes_is_json(running: Running, state_dir: Path) -> None:
    with running(launcher(state_dir)) as process:
        until(lambda: "edgeward_xds closed" in process.output(), what="Envoy's complaint about discovery")
        process.send(signal.SIGQUIT)
        process.wait()

        lines = [json.loads(line) for line in process.output().splitlines()]

    assert {"program", "level", "time", "event"} <= set(lines[0])


def test_a_killed_envoy_is_started_again(running: Running, state_dir: Path) -> None:
    with running(launcher(state_dir)) as process:
        pid = envoy_pid(state_dir)
        kill(pid)
        until(lambda: record(state_dir).get("pid") not in (None, pid), what="another Envoy")

        assert record(state_dir)["restarts"] == 1
        assert record(state_dir)["last_exit"] == "killed by SIGKILL"
        assert process.alive()


def test_a_killed_launcher_leaves_no_envoy(running: Running, state_dir: Path) -> None:
    with running(launcher(state_dir)) as process:
        pid = envoy_pid(state_dir)
        process.send(signal.SIGKILL)
        process.wait()

        until(lambda: not is_alive(pid), what="the end of Envoy")


def test_an_envoy_that_survived_its_launcher_is_ended_by_the_next(running: Running, state_dir: Path) -> None:
    (state_dir / "node").mkdir()
    bootstrap = state_dir / "node/bootstrap.json"
    with running([sys.executable, "-c", "import time; time.sleep(60)", bootstrap]) as survivor:
        (state_dir / "node/envoy.json").write_text(json.dumps({"pid": survivor.pid}))
        with running(launcher(state_dir)):
            until(lambda: not survivor.alive(), what="the survivor's end")


def test_a_pid_that_now_is_another_program_is_left_alone(running: Running, state_dir: Path) -> None:
    (state_dir / "node").mkdir()
    with running([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        (state_dir / "node/envoy.json").write_text(json.dumps({"pid": stranger.pid}))
        with running(launcher(state_dir)):
            until(lambda: record(state_dir).get("state") == "starting", what="Envoy's start")

            assert stranger.alive()


def test_an_envoy_that_dies_again_and_again_is_not_a_busy_loop(running: Running, state_dir: Path) -> None:
    fake = executable(state_dir / "envoy", '#!/bin/sh\ncase "$*" in *validate*) exit 0;; esac\nexit 3\n')
    with running(launcher(state_dir, "--envoy", str(fake))) as process:
        until(lambda: len(process.output().splitlines()) >= 3, what="the third restart")
        events = [json.loads(line) for line in process.output().splitlines()]

    assert [e["delay_seconds"] for e in events[:3]] == [0.0, 0.5, 1.0]
    assert events[0]["exit"] == "exit code 3"


def test_a_second_launcher_on_the_same_state_is_refused(running: Running, state_dir: Path) -> None:
    with running(launcher(state_dir)):
        pid = envoy_pid(state_dir)
        with running(launcher(state_dir)) as second:
            assert second.wait() == 2
            assert "another launcher runs" in second.output()

        assert is_alive(pid)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--envoy", "/nonexistent/envoy"], "/nonexistent/envoy is not a program this user may run"),
        (["--envoy", "/bin/false"], "/bin/false does not take its bootstrap"),
        (["--concurrency", "0"], "give a whole number from 1 to 1024"),
        (["--drain-seconds", "nan"], "give seconds from 0 to 3600"),
        (["--node-name", "a b"], "a name has 1 to 100 letters"),
    ],
)
def test_what_cannot_work_is_one_sentence_and_exit_code_2(
    running: Running, state_dir: Path, options: list[str], sentence: str
) -> None:
    with running(launcher(state_dir, *options)) as process:
        assert process.wait() == 2
        assert sentence in process.output()
        assert "Traceback" not in process.output()


def test_a_path_too_long_for_sockets_is_refused(running: Running, state_dir: Path) -> None:
    with running(launcher(state_dir / ("x" * 100))) as process:
        assert process.wait() == 2
        assert "bytes too long for Unix sockets" in process.output()


def kill(pid: int) -> None:
    import os

    os.kill(pid, signal.SIGKILL)


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path
