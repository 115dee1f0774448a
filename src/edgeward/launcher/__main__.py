"""`edgeward envoy`: reads its configuration and keeps Envoy running. Exits with 2 where it cannot start."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from edgeward import notify
from edgeward.launcher import config, files
from edgeward.launcher.lines import say
from edgeward.launcher.run import Launcher


def main() -> int:
    os.umask(0o077)
    try:
        settings = config.read(sys.argv[1:], os.environ)
        lock = _enter(settings)
        asyncio.run(_run(settings))
        os.close(lock)
    except config.Unusable as error:
        say("error", str(error))
        return 2
    return 0


def _enter(settings: config.Config) -> int:
    try:
        settings.node_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = files.take_lock(settings.node_dir / "launcher.lock")
    except OSError as error:
        raise config.Unusable(
            f"{error.filename}: {error.strerror}; name a --state-dir this user may write to"
        ) from error
    if lock is None:
        raise config.Unusable(f"another launcher runs on {settings.node_dir.parent}; end it first")
    return lock


async def _run(settings: config.Config) -> None:
    launcher = Launcher(settings, lambda: config.read(sys.argv[1:], os.environ))
    await launcher.prepare()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
        loop.add_signal_handler(number, launcher.end)
    loop.add_signal_handler(signal.SIGHUP, launcher.restart, "SIGHUP")
    alive = asyncio.create_task(notify.stay_alive())
    try:
        await launcher.run()
    finally:
        alive.cancel()


if __name__ == "__main__":
    sys.exit(main())
