"""One child process: dies with its parent, is awaited without threads, and never mistaken."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: the child must not allocate much


class Child:
    """A running process, leader of a process group of its own. Start it from a single-threaded program."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = self._process.pid
        self.since = time.time()
        self._started = time.monotonic()
        self._pidfd = os.pidfd_open(self.pid)

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        orphaned: signal.Signals = signal.SIGKILL,
        more_files: bool = False,
        output: int | None = None,
        before: Callable[[], None] | None = None,
    ) -> Child:
        """Start ``argv``; it gets the signal ``orphaned`` when this process dies, however that happens.

        ``more_files`` raises its soft limit of open files to the hard one; ``output`` is a descriptor
        for both its streams, ours otherwise; ``before`` is called in the child before it becomes the program.
        Raises OSError where that cannot be run.
        """
        process = subprocess.Popen(  # noqa: S603 - fixed programs, no shell
            argv,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
            preexec_fn=_prepare(os.getpid(), orphaned, more_files, before),
        )
        return cls(process)

    @property
    def ran_seconds(self) -> float:
        return time.monotonic() - self._started

    async def wait(self) -> int:
        """Wait for its end and give the exit code, negative for a signal; may be awaited by one task only."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        if self._process.returncode is None:
            loop.add_reader(self._pidfd, ended.set)  # readable once the process has ended
            try:
                await ended.wait()
            finally:
                loop.remove_reader(self._pidfd)
            self._process.wait()
            os.close(self._pidfd)
        return int(self._process.returncode)

    def send(self, number: signal.Signals) -> None:
        """Signal it; nothing happens where it has ended."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """SIGKILL to it and its process group; nothing happens where it has ended."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


async def stop(child: Child, ended: asyncio.Task[int], patience: float) -> int:
    """SIGTERM, and after ``patience`` seconds SIGKILL; ``ended`` is the task that awaits ``child.wait()``."""
    child.send(signal.SIGTERM)
    await asyncio.wait([ended], timeout=patience)
    if not ended.done():
        child.send(signal.SIGKILL)
    return await ended


def how_it_ended(code: int) -> str:
    """Say an exit code for people: ``exit code 2``, ``killed by SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _prepare(
    parent: int, orphaned: signal.Signals, more_files: bool, before: Callable[[], None] | None
) -> Callable[[], None]:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    set_death_signal, number = _libc.prctl, int(orphaned)

    def prepare() -> None:
        set_death_signal(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold private keys
        if more_files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        if before is not None:
            before()

    return prepare
