"""Keeps one Envoy running: start, restart with backoff, drain, end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import Literal

from edgeward import notify
from edgeward.launcher import child, files
from edgeward.launcher.admin import Admin, Silent
from edgeward.launcher.backoff import Backoff
from edgeward.launcher.bootstrap import bootstrap
from edgeward.launcher.config import Config, Unusable
from edgeward.launcher.lines import say

_QUIET_SECONDS = 1.0
_LAST_PATIENCE = 3.0
_LOG_FORMAT = (
    # %j is the message escaped for JSON
    '{"time":"%Y-%m-%dT%T.%e%z","level":"%l","program":"envoy","logger":"%n","event":"%j"}'
)
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")

State = Literal["starting", "serving", "draining", "down"]


class Launcher:
    """Run it once; ``end()`` asks it to let visitors finish, and called again to end at once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._bootstrap = config.node_dir / "bootstrap.json"
        self._record = config.node_dir / "envoy.json"
        self._admin = Admin(config.node_dir / "admin.sock")
        self._end = asyncio.Event()
        self._hurry = asyncio.Event()
        self._restarts = 0
        self._last_exit: str | None = None

    def end(self) -> None:
        (self._hurry if self._end.is_set() else self._end).set()

    def prepare(self) -> None:
        """Write the bootstrap, have Envoy check it, and end what a killed launcher left; raises Unusable."""
        config = self._config
        files.write_json(self._bootstrap, bootstrap(config.node_name, config.node_dir, config.bounds))
        leftover = files.end_leftover(self._record, self._bootstrap)
        if leftover is not None:
            say("warning", "ended an envoy that its launcher had left behind", pid=leftover)
        self._check_bootstrap()

    def _check_bootstrap(self) -> None:
        try:
            checked = subprocess.run(  # noqa: S603 - a fixed command, no shell
                [*self._argv(), "--mode", "validate"], capture_output=True, timeout=60, env=_environment()
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unusable(
                f"{self._config.envoy} does not run: {error}; name another: --envoy PATH"
            ) from error
        if checked.returncode != 0:
            reason = checked.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise Unusable(f"{self._config.envoy} does not take its bootstrap: {reason[-1]}")

    def _argv(self) -> list[str]:
        config = self._config
        return [
            str(config.envoy), "-c", str(self._bootstrap), "--concurrency", str(config.concurrency),
            "--disable-hot-restart", "--log-level", "warning", "--log-format", _LOG_FORMAT,
        ]  # fmt: skip

    async def run(self) -> None:
        """Keep Envoy running until ``end()``, then let its visitors finish."""
        backoff = Backoff()
        while not self._end.is_set():
            ran_seconds = await self._one_life()
            if self._end.is_set():
                break
            backoff = backoff.after_death(ran_seconds)
            self._restarts += 1
            say(
                "error", "envoy died and is started again", exit=self._last_exit,
                ran_seconds=round(ran_seconds, 3), restarts=self._restarts, delay_seconds=backoff.delay,
            )  # fmt: skip
            await _at_most(backoff.delay, self._end)
        self._write("down", None)

    async def _one_life(self) -> float:
        """Start Envoy and give how long it ran, once it has died or has been ended."""
        try:
            envoy = child.Child.start(self._argv(), env=_environment(), more_files=True)
        except OSError as error:
            self._last_exit = f"does not start: {error.strerror}"
            self._write("down", None)
            return 0.0
        self._write("starting", envoy)
        ended = asyncio.create_task(envoy.wait())
        asked = asyncio.create_task(self._end.wait())
        ready = asyncio.create_task(self._tell_when_serving(envoy))
        await asyncio.wait([ended, asked], return_when=asyncio.FIRST_COMPLETED)
        for task in (asked, ready):
            task.cancel()
        if not ended.done():
            await self._let_finish(envoy, ended)
        self._last_exit = child.how_it_ended(await ended)
        self._write("down", None)
        return envoy.ran_seconds

    async def _tell_when_serving(self, envoy: child.Child) -> None:
        state = ""
        while state != "LIVE":
            await asyncio.sleep(0.1)
            with suppress(Silent):
                state = await self._admin.state()
        self._write("serving", envoy)
        notify.ready(f"Envoy {envoy.pid} serves")
        say("info", "envoy serves", pid=envoy.pid, after_seconds=round(envoy.ran_seconds, 3))

    async def _let_finish(self, envoy: child.Child, ended: asyncio.Task[int]) -> None:
        self._write("draining", envoy)
        notify.stopping()
        drained = asyncio.create_task(self._drain())
        hurried = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([drained, hurried, ended], return_when=asyncio.FIRST_COMPLETED)
        for task in (drained, hurried):
            task.cancel()
        await child.stop(envoy, ended, patience=0.0 if self._hurry.is_set() else _LAST_PATIENCE)

    async def _drain(self) -> None:
        """Wait until no request has been in flight for a second, at most as long as configured."""
        deadline = time.monotonic() + self._config.drain_seconds
        quiet_since = None
        with suppress(Silent):
            await self._admin.drain(timeout=max(1.0, self._config.drain_seconds / 2))
            while (now := time.monotonic()) < deadline:
                in_flight = await self._admin.in_flight()
                quiet_since = None if in_flight.requests else quiet_since or now
                if in_flight.connections == 0 or (quiet_since and now - quiet_since >= _QUIET_SECONDS):
                    return
                await asyncio.sleep(0.1)
            say("warning", "visitors had not finished in time", requests=in_flight.requests)

    def _write(self, state: State, envoy: child.Child | None) -> None:
        record = {
            "pid": envoy.pid if envoy else None,
            "state": state,
            "since": envoy.since if envoy else time.time(),
            "restarts": self._restarts,
            "last_exit": self._last_exit,
            "launcher": os.getpid(),
        }
        try:
            files.write_json(self._record, record)
        except OSError as error:  # a full disk must not end Envoy
            say("error", f"{self._record}: {error.strerror}; free some space", state=state)


async def keep_running(launcher: Launcher) -> None:
    """Run the launcher with the signals and the watchdog of a program."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
        loop.add_signal_handler(number, launcher.end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    alive = asyncio.create_task(_say_alive())
    try:
        await launcher.run()
    finally:
        alive.cancel()


async def _say_alive() -> None:
    interval = notify.watchdog_seconds()
    while interval is not None:
        notify.watchdog()
        await asyncio.sleep(interval)


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}
