"""Whether rootd's audit log is whole: each line carries the hash of the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeward.errors import Invalid, Unavailable

NAME = "audit.log"


@dataclass
class Verified:
    """What was found; ``problems`` are sentences, none where the log is whole."""

    first: int = 0
    last: int = 0
    lines: int = 0
    anchors: int = 0
    """How many of the hashes that were kept elsewhere are in the log."""
    problems: list[str] = field(default_factory=list)


def files(directory: Path) -> list[Path]:
    """Give the files of a log, the oldest first; raises Invalid where there is none."""
    numbered = [p for p in directory.glob(f"{NAME}.*") if p.suffix[1:].isdecimal()]
    found = [*sorted(numbered, key=lambda p: -int(p.suffix[1:])), directory / NAME]
    if not found[-1].exists() and not numbered:
        raise Invalid(f"there is no {NAME} in {directory}; name its directory with --log")
    return [path for path in found if path.exists()]


def lines(paths: Iterable[Path]) -> Iterable[tuple[str, bytes]]:
    """Give each line with where it stands; raises Unavailable."""
    for path in paths:
        try:
            with path.open("rb") as opened:
                for number, line in enumerate(opened, 1):
                    yield f"{path}:{number}", line.removesuffix(b"\n")
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}; only root may read it") from error


def verify(found: Iterable[tuple[str, bytes]], anchors: Mapping[int, str] | None = None) -> Verified:
    """Check a log line by line; ``anchors`` are hashes by line number that were noted elsewhere.

    A line that is no JSON was torn when rootd was killed: it counts, and the next one has its hash, too.
    """
    out, before, left = Verified(), None, dict(anchors or {})
    for where, line in found:
        number, claimed = _read(line)
        if number is None:
            number, claimed = out.last + 1, before if before is not None else ""
        if before is None:
            out.first = number
        elif number != out.last + 1:
            out.problems.append(f"{where}: this is line {number}, and the one before is {out.last}")
        elif claimed != before:
            out.problems.append(
                f"{where}: line {number} does not follow from line {out.last}: one was changed"
            )
        before = hashlib.sha256(line).hexdigest()
        noted = left.pop(number, None)
        if noted is not None and noted != before:
            out.problems.append(f"{where}: line {number} is not the one that the controller was told of")
        out.anchors += noted == before
        out.last, out.lines = number, out.lines + 1
    beyond = [number for number in left if number > out.last]
    if beyond:
        told = f"the controller was told of line {max(beyond)}"
        out.problems.append(f"the log ends with line {out.last}, and {told}: lines were cut off")
    return out


def _read(line: bytes) -> tuple[int | None, str]:
    try:
        data = json.loads(line)
        return int(data["n"]), str(data["before"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None, ""
