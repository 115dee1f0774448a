"""Keeps one Envoy running: start, restart with backoff, let another take over, drain, end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from edgeward import notify
from edgeward.launcher import binary, child, files, lineage
from edgeward.launcher.backoff import Backoff
from edgeward.launcher.binary import NotTaken, Stranded
from edgeward.launcher.book import Book, Outcome
from edgeward.launcher.config import Config, Unusable
from edgeward.launcher.finish import LAST_PATIENCE, let_finish
from edgeward.launcher.generation import Generation, first
from edgeward.launcher.lineage import Lineage
from edgeward.launcher.lines import say
from edgeward.launcher.start import Starter, environment
from edgeward.launcher.takeover import let_go, take_over

_BINARY_LOOK_SECONDS = 1.0
_NODE_SECONDS = 2.0
_MOST_DRAINING = 3
"""Each holds its memory as long as its visitors stay; another restart waits for the oldest to end."""


class Launcher:
    """Run it once; ``end()`` asks it to let visitors finish, and called again to end at once.

    ``reread()`` gives the configuration as it would be at a start now: limits of this host may have changed.
    """

    def __init__(self, config: Config, reread: Callable[[], Config] | None = None) -> None:
        self._config = config
        self._reread = reread or (lambda: config)
        self._starter = Starter(config.node_dir)
        self._book = Book.open(config.node_dir / "envoy.json")
        self._end = asyncio.Event()
        self._hurry = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cold: tuple[int, float, str] | None = None
        """A cold restart under way: what it answers, since when, and why it is cold."""
        self._tried: binary.Stamp | None = None

    def end(self) -> None:
        (self._hurry if self._end.is_set() else self._end).set()

    def restart(self, reason: str) -> None:
        """Ask for another Envoy to take over; asked again before it begins, once for both."""
        say("info", "envoy is to be restarted", reason=reason)
        self._book.asked += 1
        self._book.write()
        self._changed.set()

    async def prepare(self) -> None:
        """End what a killed launcher left, and have Envoy check its bootstrap; raises Unusable."""
        record = self._book.path
        for pid in files.end_leftovers(record, self._starter.bootstrap):
            say("warning", "ended an envoy that its launcher had left behind", pid=pid)
        for base in files.bases(record):
            lineage.forget(self._config.node_dir, base)
        try:
            await self._starter.check(self._config)
        except NotTaken as error:
            raise Unusable(str(error)) from error

    async def run(self) -> None:
        """Keep Envoy running until ``end()``, then let its visitors finish."""
        watching = asyncio.create_task(self._watch_binary())
        backoff = Backoff()
        try:
            while not self._end.is_set():
                cold = self._cold
                ran_seconds = await self._one_life()
                if self._end.is_set():
                    break
                if self._cold is not cold and self._cold is not None:
                    continue
                if self._cold is not None:
                    self._answer_cold("failed", f"Envoy did not come up again: {self._book.last_exit}")
                backoff = backoff.after_death(ran_seconds)
                await self._mourn(backoff, ran_seconds)
        finally:
            watching.cancel()
            await self._end_old()
        self._book.turn("down")

    async def _mourn(self, backoff: Backoff, ran_seconds: float) -> None:
        self._book.restarts += 1
        self._book.write()
        say(
            "error", "envoy died and is started again", exit=self._book.last_exit,
            ran_seconds=round(ran_seconds, 3), restarts=self._book.restarts, delay_seconds=backoff.delay,
        )  # fmt: skip
        await first([], self._end.wait(), asyncio.sleep(backoff.delay))

    async def _one_life(self) -> float:
        """Start Envoy and give how long the last one ran, once one that nobody took over from has ended."""
        try:
            current = self._start(self._config, None)
        except OSError as error:
            self._book.last_exit = f"does not start: {error.strerror}"
            self._book.turn("down")
            return 0.0
        self._book.serving = current
        self._book.turn("starting")
        ready = asyncio.create_task(self._tell_when_serving(current))
        while not self._end.is_set() and not current.ended.done():
            await first([current.ended], self._end.wait(), self._restart_due())
            if self._is_due and not current.ended.done():
                following = await self._renew(current)
                if following is None or self._book.serving is None:
                    break
                current = following
        ready.cancel()
        if self._book.serving is None:  # it keeps its visitors, and another is to be started at once
            self._book.last_exit = "its successor died"
            self._book.turn("down")
            return current.child.ran_seconds
        if not current.ended.done():
            self._book.turn("draining")
            if self._end.is_set():
                notify.stopping()
            await let_finish(current, self._config.drain_seconds, self._hurry)
        self._book.last_exit = child.how_it_ended(await current.ended)
        self._book.serving = None
        self._book.turn("down")
        return current.child.ran_seconds

    def _start(self, config: Config, before: Generation | None) -> Generation:
        self._book.number += 1
        line = before.lineage if before else Lineage.begin(config.node_dir)
        generation = self._starter.start(config, self._book.number, line, before)
        if before is not None:
            self._book.starting = generation
            self._book.at(f"waiting for the new Envoy, process {generation.child.pid}, to serve")
        return generation

    async def _tell_when_serving(self, envoy: Generation) -> None:
        while not await envoy.is_live():  # noqa: ASYNC110 - another process, which says nothing by itself
            await asyncio.sleep(0.1)
        self._book.turn("serving")
        seconds = round(envoy.child.ran_seconds, 3)
        notify.ready(f"Envoy {envoy.child.pid} serves")
        say("info", "envoy serves", pid=envoy.child.pid, after_seconds=seconds)
        if self._cold is not None:
            self._answer_cold("cold", f"Envoy {envoy.child.pid} serves since its visitors were let go")
        self._changed.set()
        await self._learn_version(envoy)

    async def _learn_version(self, envoy: Generation) -> None:
        """Note what may take over from it, unless the file is another one already."""
        path = self._config.envoy
        version = await binary.hot_restart_version(path, environment())
        if binary.stamp(path) == envoy.stamp:
            envoy.version = version

    # --- another Envoy takes over ------------------------------------------------------------

    @property
    def _is_due(self) -> bool:
        book = self._book
        return book.asked > book.answered and book.state == "serving" and len(book.draining) < _MOST_DRAINING

    async def _restart_due(self) -> None:
        while not self._is_due:
            self._changed.clear()
            await self._changed.wait()

    async def _renew(self, current: Generation) -> Generation | None:
        """Give the Envoy that serves after this; None where this one has to end before another starts."""
        asked, began = self._book.asked, time.monotonic()
        try:
            self._book.at("checking the new Envoy")
            config = await self._checked(current)
            why = await self._why_cold(current, config)
            if why:
                self._config, self._cold = config, (asked, began, why)
                return None
            new = await take_over(current, lambda: self._start(config, current), self._end)
        except NotTaken as error:
            self._book.starting = None
            if isinstance(error, Stranded) and not current.ended.done():
                self._hand_over(current, None)
            goes_on = (
                ""
                if current.ended.done() or current is not self._book.serving
                else "; the one before goes on"
            )
            self._book.answer(asked, "failed", f"{error}{goes_on}", time.monotonic() - began)
            return current
        self._config = config
        self._hand_over(current, new)
        self._spawn(self._learn_version(new))
        text = f"Envoy {new.child.pid} has taken over from {current.child.pid}"
        self._book.answer(asked, "hot", text, time.monotonic() - began)
        notify.ready(f"Envoy {new.child.pid} serves")
        return new

    async def _checked(self, current: Generation) -> Config:
        """Give what to start with, once Envoy finds it good and the node can tell it its configuration."""
        try:
            config = self._reread()
        except Unusable as error:
            raise NotTaken(str(error)) from error
        if not await self._node_answers():
            raise NotTaken(
                "the node does not answer, so a new Envoy would have nothing to serve; start it first"
            )
        # with fewer threads, visitors in the queue of one that is no more would be cut
        config = replace(config, concurrency=max(config.concurrency, current.concurrency))
        try:
            await self._starter.check(config)
        except OSError as error:
            raise NotTaken(f"{error.filename}: {error.strerror}; free some space") from error
        return config

    async def _why_cold(self, current: Generation, config: Config) -> str:
        if not current.lineage.renewable:
            return "there is no shared memory (/dev/shm) to take over with"
        version = await binary.hot_restart_version(config.envoy, environment())
        if current.version and version and version != current.version:
            return f"an Envoy of hot restart version {version} cannot take over from one of {current.version}"
        return ""

    async def _node_answers(self) -> bool:
        try:
            async with asyncio.timeout(_NODE_SECONDS):
                _, writer = await asyncio.open_unix_connection(self._config.node_dir / "xds.sock")
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    def _hand_over(self, old: Generation, new: Generation | None) -> None:
        seconds = self._config.restart_drain_seconds
        old.until = time.time() + seconds
        old.has_admin = False
        self._book.starting, self._book.serving = None, new
        self._book.draining.append(old)
        self._spawn(self._let_go(old, new, seconds))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _let_go(self, old: Generation, new: Generation | None, seconds: float) -> None:
        try:
            await let_go(old, new, seconds)
        finally:
            self._book.draining.remove(old)
            self._book.write()
            self._changed.set()

    async def _end_old(self) -> None:
        patience = 0.0 if self._hurry.is_set() else LAST_PATIENCE
        await asyncio.gather(*(old.end(patience) for old in self._book.draining))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _answer_cold(self, outcome: Outcome, text: str) -> None:
        assert self._cold is not None
        asked, began, why = self._cold
        self._cold = None
        self._book.answer(asked, outcome, f"{text}; {why}", time.monotonic() - began)

    async def _watch_binary(self) -> None:
        """Restart Envoy where its file has become another one; one that did not work is not tried again."""
        settling = binary.Settling()
        while True:
            await asyncio.sleep(_BINARY_LOOK_SECONDS)
            found = settling.look(binary.stamp(self._config.envoy))
            serving = self._book.serving
            if found is None or serving is None or found in (serving.stamp, self._tried):
                continue
            if self._book.state == "serving" and await self._node_answers():
                self._tried = found
                self.restart(f"{self._config.envoy} has changed")
