"""Visits as values: what a visitor program is asked, what it tells, and how it is run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Visits:
    """Full TLS 1.3 handshakes, one new connection each.

    With ``rate`` (a second) each begins at its time, however long others take; without, each of
    ``threads`` begins the next when one is done. ``ca`` (a file) is verified against where given.
    ``endless`` goes round and round until its standard input is closed.
    """

    port: int
    names: Sequence[str]
    rate: float = 0.0
    threads: int = 4
    ca: str = ""
    endless: bool = False


@dataclass(frozen=True)
class Told:
    """What came of it; ``milliseconds`` are sorted, from connect() to the handshake's end."""

    milliseconds: list[float]
    failed: int
    first_failure: str
    seconds: float
    cpu_seconds: float

    @property
    def count(self) -> int:
        return len(self.milliseconds)

    def percentile(self, share: float) -> float:
        if not self.milliseconds:
            raise RuntimeError(f"no handshake succeeded: {self.first_failure}")
        return self.milliseconds[min(self.count - 1, int(share * self.count))]


def told(text: str) -> Told:
    return Told(**json.loads(text))


class Visitor:
    """A visitor program on its way."""

    def __init__(self, visits: Visits, niceness: int = 0) -> None:
        self._process = subprocess.Popen(
            ["nice", "-n", str(niceness), sys.executable, "-m", "benchmarks.visitor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(visits)) + "\n")
        self._process.stdin.flush()

    def end(self, timeout: float = 120.0) -> Told:
        """Close its input, wait for its end and give what it tells."""
        try:
            output, _ = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        if self._process.returncode != 0:
            raise RuntimeError(f"a visitor ended with {self._process.returncode}")
        return told(output)


def visit(visits: Visits, timeout: float = 120.0) -> Told:
    return Visitor(visits).end(timeout)
