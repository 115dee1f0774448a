"""IKE daemons in namespaces: what is common to those that we start, whichever program it is."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgeward.rootd import trusted
from edgeward.rootd.table import daemons

RECORD: Final = "daemon"
"""Its name in ``records``; there is one daemon in a namespace."""
PORTS: Final = frozenset({500, 4500})
_READY_SECONDS: Final = 8.0


def records(place: Path, namespace: str) -> int:
    """Open ``vpn/NAMESPACE``: the daemon's record, its settings and the socket at which it is asked."""
    os.close(trusted.made(place / "vpn"))
    return trusted.made(place / "vpn" / namespace)


def stop(place: Path, _: int, namespace: str) -> str:
    """End the daemon of a namespace; what it had agreed on with peers ends with it."""
    if not (place / "vpn" / namespace).is_dir():
        return "no daemon ran"
    within = records(place, namespace)
    for name in os.listdir(within):  # noqa: PTH208 - of an open directory
        if name.endswith((".vici", ".ctl")):  # first: nobody new comes
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=within)
    return "the daemon is ended" if daemons.end(within, RECORD) else "no daemon ran"


def wait(pidfd: int, pid: int, answers: Callable[[], bool]) -> str:
    """Wait until a daemon answers and hears: gives what is missing at the end, nothing once it is up."""
    end = time.monotonic() + _READY_SECONDS
    while True:
        if daemons.ended(pidfd, 0):
            return "it ended at once"
        deaf = sorted(PORTS - heard(pid))
        if not deaf and answers():
            return ""
        if time.monotonic() > end:
            return f"UDP {' and '.join(map(str, deaf))} are not bound" if deaf else "it does not answer"
        select.select([pidfd], [], [], 0.005)


def heard(pid: int) -> frozenset[int]:
    """Give the UDP ports that a process itself has bound, in its network namespace."""
    try:
        opened = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
        rows = [
            line.split()
            for table in ("udp", "udp6")
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        ]
    except OSError:
        return frozenset()
    inodes = {found[1] for each in opened if (found := re.fullmatch(r"socket:\[(\d+)\]", each))}
    return frozenset(int(row[1].rpartition(":")[2], 16) for row in rows if row[9] in inodes)
