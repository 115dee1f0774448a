"""Takes away what gateways that are no more left in rootd's own place: settings, records, sockets, logs."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgeward.rootd import trusted
from edgeward.rootd.table import daemons, namespaces, tunnels

_DIRECTORIES: Final = ("vpn", "relays")
"""With a directory for each namespace."""
_FILES: Final = ("networks", "namespaces")
"""With a file for each."""


def clear(place: Path, name: str) -> None:
    """Take away what is left of a namespace in which nothing of ours runs."""
    for kind in _DIRECTORIES:
        if (place / kind / name).is_dir():
            within = trusted.made(place / kind)
            try:
                shutil.rmtree(name, dir_fd=within)
            finally:
                os.close(within)


def sweep(place: Path) -> None:
    """Take away what is left of those that ended without being removed; of what may still run, nothing.

    Does nothing while somebody makes or ends one: it is looked again at the next start.
    """
    with suppress(OSError, trusted.Untrusted):
        found = trusted.made(place / "namespaces")
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in _names(place):
                if not namespaces.is_held(found, name) and not _runs(place, name):
                    clear(place, name)
                    for kind in _FILES:
                        (place / kind / name).unlink(missing_ok=True)
        finally:
            os.close(found)


def _names(place: Path) -> set[str]:
    kinds = (place / kind for kind in (*_DIRECTORIES, *_FILES))
    return {each.name.partition(".")[0] for kind in kinds if kind.is_dir() for each in kind.iterdir()}


def _runs(place: Path, name: str) -> bool:
    """Tell whether its daemon or a relay of it lives, though its namespace has no keeper any more."""
    records = [("vpn", tunnels.RECORD)]
    if (place / "relays" / name).is_dir():
        records += [
            ("relays", each.name) for each in (place / "relays" / name).iterdir() if "." not in each.name
        ]
    return any(_lives(place / kind / name, record) for kind, record in records)


def _lives(directory: Path, record: str) -> bool:
    if not (directory / record).exists():
        return False
    within = trusted.made(directory)
    try:
        found = daemons.living(within, record)
    finally:
        os.close(within)
    if found is not None:
        os.close(found[1])
    return found is not None
