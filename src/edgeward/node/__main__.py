"""Runs the node: `python -m edgeward.node --state-dir DIR`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

import uvloop

from edgeward import loading
from edgeward import log as logs
from edgeward.confine import keep_memory_private
from edgeward.errors import Conflict, EdgewardError, Invalid, Refused
from edgeward.node.config import Config, read
from edgeward.node.program import Node
from edgeward.node.sealed_copy import key
from edgeward.node.starting import become, lock
from edgeward.wrapping import Sources


def main() -> int:
    """Exit codes: 0 ended as asked, 1 failed, 2 settings or surroundings that somebody must put right."""
    loading.done()
    try:
        config = read(sys.argv[1:], os.environ)
    except Invalid as error:
        return _say(error, 2)
    logs.set_up("node", config.log_level)
    os.umask(0o077)
    keep_memory_private()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(config))
    except (Invalid, Conflict, Refused) as error:
        return _say(error, 2)
    except EdgewardError as error:
        return _say(error, 1)
    except BaseExceptionGroup as errors:
        return _failed(errors)
    return 0


async def _run(config: Config) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        loop.add_signal_handler(number, ended.set)
    held = lock(config.node_dir)
    try:
        becoming = asyncio.create_task(become(config))
        waiting = asyncio.create_task(ended.wait())
        await asyncio.wait((becoming, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not becoming.done():
            becoming.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await becoming
            return
        becoming.result()
        sources = config.seal_keys or Sources(config.state_dir / "seal.key")
        await Node(config, key.seal(sources, config.node_dir)).run(ended)
    finally:
        os.close(held)


def _failed(errors: BaseExceptionGroup[BaseException]) -> int:
    known = errors.subgroup(EdgewardError)
    if known is not None and len(known.exceptions) == len(errors.exceptions):
        for error in known.exceptions:
            _say(error, 1)
        return 1
    raise errors


def _say(error: BaseException, code: int) -> int:
    sys.stderr.write(f"edgeward node: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
