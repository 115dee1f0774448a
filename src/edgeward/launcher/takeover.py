"""One Envoy takes over from another: the new one serves before the old one stops taking visitors.

Envoy does that by itself once the new one has all its configuration; here is what it leaves to whoever
starts it: to tell whether it worked, to clear away what did not, and to end the old one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from edgeward.launcher.admin import Silent
from edgeward.launcher.binary import NotTaken, Stranded
from edgeward.launcher.child import how_it_ended
from edgeward.launcher.generation import Generation, first
from edgeward.launcher.lines import say

_LIVE_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_LEAST_DRAIN = 2.0
"""A visitor whom the old one took at the last moment has become a connection that counts by then."""
_DRAIN_LOOK_SECONDS = 1.0
_LAST_PATIENCE = 3.0
_HEIR_SECONDS = 5.0


async def take_over(old: Generation, start: Callable[[], Generation], end: asyncio.Event) -> Generation:
    """Start an Envoy and give it once it serves alone.

    Raises NotTaken where the old one goes on, and Stranded where it only keeps the visitors it has.
    """
    with suppress(Silent):
        await old.admin.hold()
    old.lineage.expect(old.epoch + 1)
    try:
        new = start()
    except OSError as error:
        raise NotTaken(f"Envoy does not start: {error.strerror}") from error
    try:
        await _until_live(old, new, end)
    except BaseException as error:
        # not SIGTERM: an Envoy that is told to end tells the one before it to end, too
        new.child.kill()
        await new.ended
        if new.lineage.has_taken_over(new.epoch):
            raise Stranded(f"{error}, when it had taken over already") from error
        new.lineage.start_failed()
        await _look_after(old)
        raise
    old.lineage.stand_in_for(old.epoch)
    return new


async def _until_live(old: Generation, new: Generation, end: asyncio.Event) -> None:
    deadline = time.monotonic() + _LIVE_SECONDS
    while not await new.is_live() or new.lineage.is_starting:
        if new.ended.done():
            raise NotTaken(f"the new Envoy did not come up: {how_it_ended(new.ended.result())}")
        if old.ended.done():
            raise NotTaken(f"the old Envoy died meanwhile: {how_it_ended(old.ended.result())}")
        if end.is_set():
            raise NotTaken("the launcher was asked to end")
        if time.monotonic() > deadline:
            raise NotTaken(f"the new Envoy did not serve within {_LIVE_SECONDS:g} s")
        await first([new.ended, old.ended], end.wait(), asyncio.sleep(_LOOK_SECONDS))


async def _look_after(old: Generation) -> None:
    """See whether the old one still has its admin socket: the new one asks it early to close it."""
    held, old.admin = old.admin, type(old.admin)(old.admin.socket)
    old.has_admin = await old.answers()
    if old.has_admin:
        held.release()
    else:
        old.admin = held


async def let_go(old: Generation, heir: Generation | None, seconds: float) -> None:
    """Let the old one's visitors finish, then end it; an heir that its death leaves stuck is ended, too."""
    deadline = time.monotonic() + seconds
    await first([old.ended], asyncio.sleep(min(_LEAST_DRAIN, seconds)))
    while not old.ended.done() and (left := deadline - time.monotonic()) > 0:
        with suppress(Silent):
            if await old.admin.connections() == 0:
                break
        await first([old.ended], asyncio.sleep(min(_DRAIN_LOOK_SECONDS, left)))
    died = old.ended.done()
    await old.end(_LAST_PATIENCE)
    if not died:
        say("info", "the old envoy has ended", pid=old.child.pid, generation=old.number)
        return
    exit_ = how_it_ended(old.ended.result())
    say("warning", "the old envoy died before its visitors had finished", pid=old.child.pid, exit=exit_)
    if heir is not None:
        await _end_if_stuck(heir)


async def _end_if_stuck(heir: Generation) -> None:
    """It may have been waiting for a word of the one that died, and would wait for ever."""
    deadline = time.monotonic() + _HEIR_SECONDS
    while not heir.ended.done() and not await heir.answers():
        if time.monotonic() > deadline:
            say("error", "envoy hangs since the one before it died, and is killed", pid=heir.child.pid)
            heir.child.kill()
            return
        await first([heir.ended], asyncio.sleep(_LOOK_SECONDS))
