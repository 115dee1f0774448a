"""Envoy's binary as a file: whether it is another one now, whether it works, what it can take over from."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeward.launcher import child

_MOST_OUTPUT = 1 << 20
_VERSION_SECONDS = 10.0
_VALIDATE_SECONDS = 60.0


@dataclass(frozen=True)
class Stamp:
    """What differs where a file was replaced or written to."""

    device: int
    inode: int
    size: int
    modified_ns: int


def stamp(path: Path) -> Stamp | None:
    """Give the stamp of what the path leads to, links followed; None where there is nothing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


@dataclass
class Settling:
    """Tells once a file has been another one, the same each time, for some looks: it is whole then."""

    looks: int = 3
    _seen: Stamp | None = None
    _same: int = 0

    def look(self, now: Stamp | None) -> Stamp | None:
        """Take in what is there now; gives it where it has settled."""
        self._same = self._same + 1 if now == self._seen else 0
        self._seen = now
        return now if self._same >= self.looks else None


class NotTaken(Exception):
    """No new Envoy serves; the message says why."""


class Stranded(NotTaken):
    """Worse: the old Envoy was told already to take no more visitors."""


async def check(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """Have Envoy judge its command line and bootstrap; raises NotTaken with its reason."""
    binary = argv[0]
    try:
        code, text = await _run([*argv, "--mode", "validate"], environment, _VALIDATE_SECONDS)
    except OSError as error:
        raise NotTaken(f"{binary} does not run: {error.strerror}; name another: --envoy PATH") from error
    except TimeoutError as error:
        raise NotTaken(
            f"{binary} does not judge its bootstrap in time; name another: --envoy PATH"
        ) from error
    if code != 0:
        reason = text.strip().splitlines() or ["no reason given"]
        raise NotTaken(f"{binary} does not take its bootstrap: {reason[-1][:500]}")


async def hot_restart_version(binary: Path, environment: Mapping[str, str]) -> str:
    """Give what must be equal for one Envoy to take over from another; empty where it does not say."""
    try:
        code, text = await _run([str(binary), "--hot-restart-version"], environment, _VERSION_SECONDS)
    except (OSError, TimeoutError):
        return ""
    return text.strip()[:100] if code == 0 else ""


async def _run(argv: Sequence[str], environment: Mapping[str, str], seconds: float) -> tuple[int, str]:
    """Run a program to its end; gives its exit code and what it wrote to both streams."""
    with tempfile.TemporaryFile() as output:
        process = child.Child.start(argv, env=environment, output=output.fileno())
        ended = asyncio.create_task(process.wait())
        try:
            async with asyncio.timeout(seconds):
                code = await asyncio.shield(ended)
        finally:
            process.send(signal.SIGKILL)
            await ended
        output.seek(0)
        return code, output.read(_MOST_OUTPUT).decode(errors="replace")
