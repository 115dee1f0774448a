"""How fast rootd starts what it is asked for: alone, many at once, and among a thousand slow clients."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from benchmarks.processes import rss_mb
from benchmarks.table import Goal, Row
from edgeward import actions
from edgeward.cli.up import rootd_command

WHAT = "request of an action until its process has started"
_SLOW = 1000


def measure(place: Path, count: int) -> list[Row]:
    """Give the rows; what is started says itself when it has."""
    files = place / "actions.d"
    files.mkdir(mode=0o755, parents=True)
    path = files / "now.toml"
    path.write_text('name = "now"\nargv = ["/usr/bin/date", "+%s%N"]\n')
    path.chmod(0o644)
    listening = str(place / "run" / "rootd.sock")
    argv = [*rootd_command(), "--socket", listening, "--actions", str(files), "--log", str(place / "log")]
    with subprocess.Popen(argv) as rootd:
        try:
            _wait(listening)
            return _rows(rootd.pid, listening, count)
        finally:
            rootd.terminate()


def _rows(pid: int, listening: str, count: int) -> list[Row]:
    alone = sorted(_started(listening) for _ in range(count))
    with ThreadPoolExecutor(50) as pool:
        together = max(pool.map(lambda _: _started(listening), range(50)))
    resident = rss_mb(pid)
    slow = [_connected(listening) for _ in range(_SLOW)]
    among = max(_started(listening) for _ in range(20))
    for connection in slow:
        connection.close()
    p99 = alone[int(len(alone) * 0.99)]
    note = f"{count} one after the other; p50 {alone[len(alone) // 2]:.1f} ms"
    return [
        Row(WHAT, "rootd, p99", p99, "ms", note, (Goal(p99, 10),)),
        Row(WHAT, "rootd, the last of 50 at once", together, "ms", "", (Goal(together, 100),)),
        Row(WHAT, f"rootd among {_SLOW:,} slow clients, worst of 20", among, "ms", "", (Goal(among, 100),)),
        Row("resident memory of rootd", "rootd", resident, "MB", "", (Goal(resident, 20),)),
    ]


def _started(listening: str) -> float:
    """Give the milliseconds until it said the time."""
    began = time.time_ns()
    said = actions.run("now", path=listening)
    if not said.ok:
        raise RuntimeError(f"rootd did not run it: {said}")
    return (int(said.output) - began) / 1e6


def _connected(listening: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(listening)
    with suppress(OSError):
        connection.sendall(b"\0\0\1")
    return connection


def _wait(listening: str) -> None:
    for _ in range(200):
        with suppress(actions.Unanswered):
            actions.run("now", path=listening)
            return
        time.sleep(0.05)
    raise RuntimeError(f"rootd of {sys.executable} does not answer")
