"""systemd's own judgement of units, and programs held to what their units allow."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from tests.integration.processes import until

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
HELD = Path(__file__).parent / "held.py"
REFUSED_AND_NOT_MISSED = {"prlimit64"}
"""What the filters answer with EPERM, and the C library does without."""


def exposure(service: Path) -> float:
    """Give what `systemd-analyze security` says of a unit's file."""
    done = analyze("security", "--offline=true", service)
    return float(re.findall(r"exposure level for \S+: ([0-9.]+)", done.stdout)[-1])


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    argv = ["systemd-analyze", *map(str, arguments), "--no-pager"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def sound(
    directory: Path,
    names: Sequence[str],
    more: dict[str, str] | None = None,
    programs: Sequence[str] = ("/usr/bin/edgeward",),
) -> str:
    """Copy units beside a program that exists, and give what `systemd-analyze verify` has against them.

    It stands for ``programs``, which may not be here.
    """
    program = directory / "edgeward"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in names:
        text = (UNITS / name).read_text()
        for one in programs:
            text = text.replace(one, str(program))
        (directory / name).write_text(text)
    for name, text in (more or {}).items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    judged = analyze("verify", *(directory / name for name in names))
    return judged.stderr + ("" if judged.returncode == 0 else f"code {judged.returncode}")


def allowed(service: Path) -> set[str]:
    """Read which system calls a unit's filters leave."""
    allowed: set[str] = set()
    for filters in re.findall(r"^SystemCallFilter=(.*)$", service.read_text(), re.MULTILINE):
        named = set().union(*map(_calls, filters.lstrip("~").split()))
        allowed = allowed - named if filters.startswith("~") else allowed | named
    return allowed | _calls("@default")


@cache
def _sets() -> dict[str, frozenset[str]]:
    sets: dict[str, set[str]] = {}
    name = ""
    for line in analyze("syscall-filter").stdout.splitlines():
        if line.startswith("@"):
            name = line.strip()
            sets[name] = set()
        elif name and (word := line.strip()) and not word.startswith("#"):
            sets[name].add(word)
    return {name: frozenset(words) for name, words in sets.items()}


def _calls(word: str) -> set[str]:
    return set().union(*map(_calls, _sets()[word])) if word.startswith("@") else {word}


def held(python: str, trace: Path, needs: Callable[[str], str]) -> tuple[str, ...]:
    """Give what stands before a command to have it gain no right and no memory that is written and run, and
    its system calls written down. It stays our child (``-DD``), so that it hears who ends it.
    """
    return (python, str(HELD), needs("strace"), "-DD", "-f", "-q", "-o", str(trace))


def used(trace: Path) -> set[str]:
    """Give the system calls that were carried out, once the program has ended and all are written down."""
    program = trace.read_text().partition(" ")[0]
    ended = re.compile(rf"^{program} +\+\+\+ ", re.MULTILINE)
    until(lambda: ended.search(trace.read_text()), what=f"the end of {trace}")
    return set(re.findall(r"^\d+ +([a-z_0-9]+)\(", trace.read_text(), re.MULTILINE))
