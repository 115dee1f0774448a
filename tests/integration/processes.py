"""Real processes in tests: started in a group of their own, ended by pid, their output shown on failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import httpx

from tests.patience import PATIENCE

_TAIL_LINES = 60


class Process:
    """One started process; ``output()`` is all it and its children wrote so far, both streams."""

    def __init__(self, child: subprocess.Popen[bytes], output: Path) -> None:
        self._child = child
        self._output = output

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        return self._child.poll()

    def alive(self) -> bool:
        return self._child.poll() is None

    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def wait(self, timeout: float = 15.0) -> int:
        """Wait for its end and give the exit code; raises AssertionError where it goes on."""
        try:
            return self._child.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s") from None

    def end(self, timeout: float = 15.0) -> None:
        """SIGTERM, then after ``timeout`` seconds SIGKILL to its whole group."""
        with suppress(ProcessLookupError):
            self._child.terminate()
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait(30)


class Running(Protocol):
    def __call__(
        self, argv: Sequence[str | Path], *, output: Path | None = None, env: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Process]: ...


@contextmanager
def running(
    argv: Sequence[str | Path], *, output: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run a program for the length of the block; ``env`` is added to this process's environment.

    Where the block raises, the last lines of the output go to stderr, which pytest shows.
    """
    with tempfile.TemporaryDirectory(prefix="ew-out-", dir="/tmp") as directory:
        path = output or Path(directory) / "output"
        with path.open("ab") as file:
            child = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                process_group=0,
            )
        process = Process(child, path)
        try:
            yield process
        except BaseException:
            _show(argv, process)
            raise
        finally:
            process.end()


def until(condition: Callable[[], object], timeout: float = 15.0, what: str = "") -> None:
    """Poll until the condition holds; raises AssertionError with ``what`` after PATIENCE times ``timeout`` seconds.

    It does not hold while somebody asked by it cannot be reached, or ends in the middle of an answer.
    """
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        missed = None
        try:
            if condition():
                return
        except (OSError, httpx.TransportError) as error:
            missed = error
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what or 'the condition'} did not come true within {timeout} s"
            ) from missed
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def _show(argv: Sequence[str | Path], process: Process) -> None:
    lines = process.output().splitlines()[-_TAIL_LINES:]
    print(f"--- {' '.join(str(a) for a in argv)}", *lines, "---", sep="\n", file=sys.stderr)
