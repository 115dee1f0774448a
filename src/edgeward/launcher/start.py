"""How an Envoy is started: its command line, its bootstrap and its environment."""

from __future__ import annotations

import math
import os
from pathlib import Path

from edgeward.launcher import binary, files
from edgeward.launcher.bootstrap import bootstrap
from edgeward.launcher.config import Config
from edgeward.launcher.generation import Generation
from edgeward.launcher.lineage import Lineage
from edgeward.launcher.lines import say

_LOG_FORMAT = (
    # %j is the message escaped for JSON
    '{"time":"%Y-%m-%dT%T.%e%z","level":"%l","program":"envoy","logger":"%n","event":"%j"}'
)
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
_DRAIN_SHARE = 2 / 3


class Starter:
    def __init__(self, node_dir: Path) -> None:
        self.bootstrap = node_dir / "bootstrap.json"
        self._draft = node_dir / "bootstrap.next.json"

    async def check(self, config: Config) -> None:
        """Have Envoy check what it would be started with; raises NotTaken with its reason."""
        files.write_json(self._draft, bootstrap(config.node_name, config.node_dir, config.bounds))
        argv = self._argv(config, self._draft, ["--disable-hot-restart"])
        await binary.check(argv, environment())

    def start(self, config: Config, number: int, lineage: Lineage, before: Generation | None) -> Generation:
        """Start Envoy, cold or to take over from another; raises OSError where it cannot be run."""
        self._write(config, number, needed=before is not None)
        epoch = before.epoch + 1 if before else 0
        generation = Generation.start(
            self._argv(config, self.bootstrap, lineage.arguments(epoch)),
            environment(),
            number=number,
            epoch=epoch,
            lineage=lineage,
            socket=config.node_dir / "admin.sock",
            stamp=binary.stamp(config.envoy),
        )
        generation.concurrency = config.concurrency
        return generation

    def _write(self, config: Config, number: int, *, needed: bool) -> None:
        """Write the bootstrap; where it is not ``needed``, that of before will do on a full disk."""
        data = bootstrap(config.node_name, config.node_dir, config.bounds, number)
        try:
            files.write_json(self.bootstrap, data)
        except OSError as error:
            if needed or not self.bootstrap.exists():
                raise
            say("error", f"{self.bootstrap}: {error.strerror}; Envoy starts with what it held before")

    def _argv(self, config: Config, path: Path, more: list[str]) -> list[str]:
        return [
            str(config.envoy), "-c", str(path), "--concurrency", str(config.concurrency),
            *_drain(config.restart_drain_seconds), *more,
            "--log-level", "warning", "--log-format", _LOG_FORMAT,
        ]  # fmt: skip


def _drain(seconds: float) -> list[str]:
    """Give how an Envoy lets its visitors go when another has taken over, and when its listeners change.

    Over the first two thirds of the time a growing share of answers ends its connection, so that not
    all visitors shake hands anew at once; after that, every answer does. It is the launcher that ends it.
    """
    drain = max(1, math.ceil(seconds * _DRAIN_SHARE))
    return ["--drain-time-s", str(drain), "--parent-shutdown-time-s", str(max(drain, math.ceil(seconds)))]


def environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}
