"""Processes that the benchmark starts, and what /proc says of their CPU time and memory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class _Stat(NamedTuple):
    parent: int
    cpu_seconds: float
    """Its own and that of children it has waited for."""


def _stat(pid: int) -> _Stat:
    """Read /proc/PID/stat (proc(5)); the command in it may hold blanks and brackets."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return _Stat(int(fields[1]), sum(map(int, fields[11:15])) / _TICKS)


def tree(root: int) -> list[int]:
    """Give a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                children.setdefault(_stat(int(entry.name)).parent, []).append(int(entry.name))
            except OSError:
                continue  # it has just ended
    found, left = [], [root]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """Give user and system time of these processes and of their children that have ended."""
    return sum(_stat(pid).cpu_seconds for pid in pids)


def rss_mb(pid: int) -> float:
    """Give a process's resident memory in 2^20 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Process:
    """A program with its output in a file; ended by its process id."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        patience: float = 10.0,
    ) -> None:
        self._log = log
        self._patience = patience
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
                process_group=0,
            )
        self.pid = self._process.pid

    def check(self) -> None:
        """Raise RuntimeError, with the end of its log, where it has ended."""
        if self._process.poll() is not None:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
            raise RuntimeError(f"{self._log.stem} ended with {self._process.returncode}:\n{tail}")

    def wait_for(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        until(condition, seconds, what, self.check)

    def wait_for_port(self, port: int, seconds: float = 20.0) -> None:
        self.wait_for(lambda: accepts(port), seconds, f"listening on port {port}")

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(self._patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


def until(
    condition: Callable[[], bool], seconds: float, what: str, check: Callable[[], None] = lambda: None
) -> None:
    """Wait for something; raises TimeoutError that says what did not happen."""
    end = time.monotonic() + seconds
    while not condition():
        check()
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.05)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Give different free ports on loopback, below the range from which clients get theirs."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    for port in range(min(low, 32768) - 1, 10000, -1):
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free ports on 127.0.0.1")
