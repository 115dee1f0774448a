"""Keeps the programs of `edgeward up` running as one tree; whatever forks here must not import grpcio."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgeward import capabilities, log, notify
from edgeward.cli.tree.notified import NotifySocket
from edgeward.cli.tree.rootd import Beside
from edgeward.launcher import files
from edgeward.launcher.backoff import Backoff
from edgeward.launcher.child import Child, how_it_ended

_log = log.logger("edgeward.up")

_WATCHDOG_SECONDS = 30.0
_HURRIED_PATIENCE = 1.0
_NOT_INHERITED = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)

State = Literal["starting", "ready", "waiting", "stopping", "ended"]


@dataclass(frozen=True)
class Program:
    """One program to keep running."""

    name: str
    argv: tuple[str, ...]
    patience: float
    """Seconds between SIGTERM and SIGKILL when it is to end."""
    orphaned: signal.Signals = signal.SIGKILL
    """What it gets when the supervisor dies."""
    watched: bool = True
    """Kill it where it stops saying that it is alive, once it has begun to."""
    reloads: bool = False
    """Pass SIGHUP on to it."""
    not_told: Collection[str] = ()
    """Variables of our environment it has no use for: they hold secrets."""
    low_ports: bool = False
    """Let it keep the capability to listen on low ports, where we have it."""
    gives_up: bool = True
    """Exit code 2 before everything was ready once: it can never run so, and the supervisor ends."""


@dataclass
class _Kept:
    program: Program
    state: State = "starting"
    child: Child | None = None
    restarts: int = 0
    last_exit: str | None = None
    since: float = field(default_factory=time.time)
    says: str = ""
    alive_at: float | None = None

    def turn(self, state: State) -> None:
        self.state, self.since = state, time.time()

    def record(self) -> dict[str, object]:
        return {
            "name": self.program.name,
            "pid": self.child.pid if self.child else None,
            "state": self.state,
            "since": self.since,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "status": self.says,
        }


class Supervisor:
    """Runs programs, first to last, and ends them in the opposite order; ``run()`` gives the exit code."""

    def __init__(self, programs: Sequence[Program], state_dir: Path, beside: Beside | None = None) -> None:
        self._kept = [_Kept(program) for program in programs]
        self._beside = beside
        self._record = state_dir / "up.json"
        self._socket_path = state_dir / "notify.sock"
        self._since = time.time()
        self._was_ready = False
        self._exit_code = 0
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()

    def end(self) -> None:
        """End everything in order; called again, at once."""
        (self._hurry if self._ending.is_set() else self._ending).set()

    def reload(self) -> None:
        """Pass SIGHUP to the programs that re-read their input; one still starting does so anyway."""
        notify.reloading()
        for kept in self._kept:
            if kept.program.reloads and kept.state == "ready" and kept.child:
                kept.child.send(signal.SIGHUP)
        if self._was_ready:
            notify.ready()

    async def run(self) -> int:
        """Keep all programs running until ``end()``; 2 where one of them can never run, else 0."""
        heard = NotifySocket(self._socket_path)
        heard.listen(self._hear)
        if self._beside is not None:
            self._beside.listen(self._write)
        environment = _environment(self._socket_path)
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = [tasks.create_task(self._keep(kept, environment)) for kept in self._kept]
                watching = tasks.create_task(self._watch())
                await self._ending.wait()
                await self._end_all(keeping)
                watching.cancel()
        finally:
            heard.close()
            if self._beside is not None:
                self._beside.close()
            self._write()
        return self._exit_code

    async def _keep(self, kept: _Kept, environment: Mapping[str, str]) -> None:
        backoff = Backoff()
        while not self._ending.is_set():
            ran_seconds = await self._one_life(kept, environment)
            if self._ending.is_set():
                break
            if self._is_hopeless(kept):
                self._exit_code = 2
                self._ending.set()
                break
            backoff = backoff.after_death(ran_seconds)
            kept.restarts += 1
            kept.turn("waiting")
            _log.error(
                f"{kept.program.name} died and is started again",
                exit=kept.last_exit,
                ran_seconds=round(ran_seconds, 3),
                restarts=kept.restarts,
                delay_seconds=backoff.delay,
            )
            self._write()
            await _at_most(backoff.delay, self._ending)
        kept.turn("ended")
        self._write()

    async def _one_life(self, kept: _Kept, environment: Mapping[str, str]) -> float:
        """Start a program and give how long it ran, once it has died."""
        program = kept.program
        own = dict(environment) if program.watched else _without_watchdog(environment)
        own = {name: value for name, value in own.items() if name not in program.not_told}
        kept.turn("starting")
        kept.alive_at, kept.says = None, ""
        try:
            kept.child = Child.start(
                program.argv,
                env=own,
                orphaned=program.orphaned,
                before=None if program.low_ports else capabilities.hand_on_nothing,
            )
        except OSError as error:
            kept.last_exit = f"does not start: {error.strerror}"
            return 0.0
        self._write()
        code = await kept.child.wait()
        kept.last_exit, ran_seconds = how_it_ended(code), kept.child.ran_seconds
        kept.child = None
        return ran_seconds

    def _is_hopeless(self, kept: _Kept) -> bool:
        never = not self._was_ready and kept.program.gives_up
        return never and kept.last_exit == how_it_ended(2)

    def _hear(self, pid: int, said: Mapping[str, str]) -> None:
        for kept in self._kept:
            if kept.child is None or kept.child.pid != pid:
                continue
            if "WATCHDOG" in said:
                kept.alive_at = time.monotonic()
            changed = "STATUS" in said and said["STATUS"] != kept.says
            kept.says = said.get("STATUS", kept.says)[:500]
            if said.get("READY") == "1" and kept.state == "starting":
                kept.turn("ready")
                _log.info(f"{kept.program.name} is ready", pid=pid)
                self._tell_when_all_are_ready()
                changed = True
            if changed:
                self._write()

    def _tell_when_all_are_ready(self) -> None:
        if not self._was_ready and all(kept.state == "ready" for kept in self._kept):
            self._was_ready = True
            seconds = round(time.time() - self._since, 3)
            notify.ready("controller, node and Envoy are ready")
            _log.info("everything is ready", after_seconds=seconds)

    async def _watch(self) -> None:
        """Tell our own manager that we are alive, and kill a program that no longer says so of itself."""
        interval = min(notify.watchdog_seconds() or 5.0, 5.0)
        while True:
            notify.watchdog()
            for kept in self._kept:
                if kept.alive_at and kept.child and time.monotonic() - kept.alive_at > _WATCHDOG_SECONDS:
                    _log.error(f"{kept.program.name} is stuck and is killed", pid=kept.child.pid)
                    kept.alive_at = None
                    kept.child.send(signal.SIGKILL)
            await asyncio.sleep(interval)

    async def _end_all(self, keeping: Sequence[asyncio.Task[None]]) -> None:
        notify.stopping()
        hurried = asyncio.create_task(self._hurry.wait())
        for kept, task in zip(reversed(self._kept), reversed(keeping), strict=True):
            if kept.child is None:
                continue
            kept.turn("stopping")
            self._write()
            kept.child.send(signal.SIGTERM)
            await asyncio.wait(
                [task, hurried], timeout=kept.program.patience, return_when=asyncio.FIRST_COMPLETED
            )
            if self._hurry.is_set():
                await self._hurry_all(keeping)
                break
            await self._kill_if_stuck(kept, task)
        hurried.cancel()

    async def _hurry_all(self, keeping: Sequence[asyncio.Task[None]]) -> None:
        for kept in self._kept:
            if kept.child:
                kept.child.send(signal.SIGTERM)
        await asyncio.wait(keeping, timeout=_HURRIED_PATIENCE)
        for kept, task in zip(self._kept, keeping, strict=True):
            await self._kill_if_stuck(kept, task)

    async def _kill_if_stuck(self, kept: _Kept, task: asyncio.Task[None]) -> None:
        if kept.child and not task.done():
            _log.warning(f"{kept.program.name} did not end in time and is killed", pid=kept.child.pid)
            kept.child.send(signal.SIGKILL)
        await asyncio.wait([task], timeout=5.0)

    def _write(self) -> None:
        beside = [] if self._beside is None else [self._beside.record()]
        record = {
            "pid": os.getpid(),
            "since": self._since,
            "ready": self._was_ready,
            "programs": [*(kept.record() for kept in self._kept), *beside],
        }
        try:
            files.write_json(self._record, record)
        except OSError as error:  # a full disk must not end what runs
            _log.error(f"{self._record}: {error.strerror}; free some space")


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _environment(notify_socket: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return inherited | {
        "NOTIFY_SOCKET": str(notify_socket),
        "WATCHDOG_USEC": str(int(_WATCHDOG_SECONDS * 1e6)),
    }


def _without_watchdog(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != "WATCHDOG_USEC"}
