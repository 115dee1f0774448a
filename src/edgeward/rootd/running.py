"""Runs what was asked: fixed argv, no shell, no environment, nothing open, an end to time and to output;
equal ones as one, and never sooner than their cooldown allows."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import Any

from edgeward.rootd import trusted
from edgeward.rootd.table import people
from edgeward.rootd.table.actions import Action

MOST_CHILDREN = 64
_MOST_TURNS = 10_000
_KILL_AFTER = 1.0
"""Seconds between SIGTERM and SIGKILL."""


class _Turn:
    """Of one argv: the run that is to come, and from when on there may be one."""

    def __init__(self) -> None:
        self.one = asyncio.Lock()
        self.following: asyncio.Task[dict[str, Any]] | None = None
        self.not_before = 0.0


class Running:
    def __init__(self) -> None:
        self._turns: dict[tuple[str, ...], _Turn] = {}
        self.children = 0

    async def outcome(self, action: Action, argv: tuple[str, ...]) -> dict[str, Any]:
        """Run it and say what came of it; ``outcome`` is done, timed-out, busy or failed.

        One that coalesces is run once for all who asked since the last one began.
        """
        now = time.monotonic()
        if len(self._turns) >= _MOST_TURNS:
            self._turns = {k: t for k, t in self._turns.items() if t.not_before >= now or t.following}
        turn = self._turns.setdefault(argv, _Turn()) if action.coalesce or action.cooldown else _Turn()
        if action.coalesce:
            if turn.following is None:
                turn.following = asyncio.create_task(self._follow(action, argv, turn))
            return await asyncio.shield(turn.following)
        if turn.not_before > now:
            wait = f"ask again in {turn.not_before - now:.1f} s"
            return {"outcome": "busy", "reason": f"{action.name} cools down; {wait}"}
        turn.not_before = now + action.cooldown
        return await self._run(action, argv)

    async def _follow(self, action: Action, argv: tuple[str, ...], turn: _Turn) -> dict[str, Any]:
        async with turn.one:
            await asyncio.sleep(max(0.0, turn.not_before - time.monotonic()))
            turn.following = None  # who asks from now on may have changed what this run does not see
            turn.not_before = time.monotonic() + action.cooldown
            return await self._run(action, argv)

    async def _run(self, action: Action, argv: tuple[str, ...]) -> dict[str, Any]:
        if self.children >= MOST_CHILDREN:
            return {"outcome": "busy", "reason": f"{MOST_CHILDREN} actions run already; ask again"}
        self.children += 1
        try:
            return await _ran(action, argv)
        except (trusted.Untrusted, people.Unknown, OSError, ValueError) as error:
            return {"outcome": "failed", "reason": f"{action.name} cannot be run: {error}"}
        finally:
            self.children -= 1


async def _ran(action: Action, argv: tuple[str, ...]) -> dict[str, Any]:
    began, loop, output = time.monotonic(), asyncio.get_running_loop(), bytearray()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    try:
        pid = action.begin(argv, writing) if action.begin else _started(action, argv, writing)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)

    def read() -> int:
        """Take in what it wrote, and keep one byte more than is shown of it."""
        with suppress(BlockingIOError):
            data = os.read(reading, 65_536)
            output.extend(data[: action.output + 1 - len(output)])
            if not data:
                loop.remove_reader(reading)
            return len(data)
        return 0

    loop.add_reader(reading, read)
    late, code = await _ended(pid, action.timeout)
    for _ in range(32):  # a pipe holds no more; who left the group may go on writing
        if not read():
            break
    loop.remove_reader(reading)
    os.close(reading)
    return {
        "outcome": "timed-out" if late else "done",
        "exit": code if code >= 0 else None,
        "signal": next((s.name for s in signal.Signals if s == -code), str(-code)) if code < 0 else None,
        "output": output[: action.output].decode(errors="replace"),
        "truncated": len(output) > action.output,
        "seconds": round(time.monotonic() - began, 4),
        "pid": pid,
    }


def _started(action: Action, argv: tuple[str, ...], writing: int) -> int:
    trusted.program(argv[0])
    process = subprocess.Popen(  # noqa: S603 - fixed argv, no shell; 1 ms
        argv, env={}, cwd="/", umask=0o022, process_group=0, close_fds=True,
        stdin=subprocess.DEVNULL, stdout=writing, stderr=writing,
        **(people.identity(action.run_as) if action.run_as else {}),
    )  # fmt: skip
    process.returncode = 0  # it is waited for below, not by this object
    return process.pid


async def _ended(pid: int, timeout: float) -> tuple[bool, int]:
    """Wait for its end, and bring it about; gives whether it took too long, and its exit code, or less its
    signal's number. Its group ends with it."""
    ended, loop, descriptor = asyncio.Event(), asyncio.get_running_loop(), os.pidfd_open(pid)
    loop.add_reader(descriptor, ended.set)
    late = 0
    for seconds, number in ((timeout, signal.SIGTERM), (_KILL_AFTER, signal.SIGKILL), (None, None)):
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), seconds)
            break
        late += 1
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number or 0)
    loop.remove_reader(descriptor)
    os.close(descriptor)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)  # not waited for yet: this id is nobody else's
    return late > 0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])  # noqa: ASYNC222 - it has ended
