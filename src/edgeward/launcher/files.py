"""Files of the launcher: written whole or not at all, readable by their owner only."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
from pathlib import Path
from typing import Any

_END_SECONDS = 2.0


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Replace a file (mode 0600) at once; a reader sees the old or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(data, file, indent=1)
    draft.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Give what a file of ours says; empty where it does not exist or says nothing sensible."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def take_lock(path: Path) -> int | None:
    """Hold a file's lock until this process ends, giving its descriptor; None where another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def end_leftovers(record: Path, bootstrap: Path) -> list[int]:
    """Kill the Envoys of a launcher that died, and give their pids.

    The kernel does that by itself, except where Envoy's binary has file capabilities: executing it
    clears the parent-death signal (prctl(2), PR_SET_PDEATHSIG); or where Envoy is too busy to hear
    of it, as it turns that signal into SIGTERM.
    """
    pids = [one.get("pid") for one in _noted(record)]
    return [pid for pid in pids if isinstance(pid, int) and pid > 1 and _end(pid, bootstrap)]


def bases(record: Path) -> set[int]:
    """Give the numbers of shared memory that a launcher noted."""
    found = (one.get("base") for one in _noted(record))
    return {base for base in found if isinstance(base, int)}


def _noted(record: Path) -> list[dict[str, Any]]:
    """Give every Envoy that a record tells of."""
    said = read_json(record)
    draining = said.get("draining")
    places = [said, said.get("starting"), *(draining if isinstance(draining, list) else ())]
    return [place for place in places if isinstance(place, dict)]


def _end(pid: int, bootstrap: Path) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if os.fsencode(bootstrap) not in arguments:
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        select.select([pidfd], [], [], _END_SECONDS)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True
