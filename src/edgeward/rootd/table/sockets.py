"""Unix sockets that root binds for daemons without rights, which then need no directory to write."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def bound(within: int, name: str, kind: int, group: int, mask: int) -> Iterator[socket.socket]:
    """Bind a Unix socket of root's and that group's; its name goes at the end, unless it has another then."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=within)
    made = socket.socket(socket.AF_UNIX, kind)
    before = os.umask(mask)
    os.setegid(group)  # a file's group is its maker's; changing it afterwards would take CHOWN
    try:
        made.bind(f"/proc/self/fd/{within}/{name}")
    finally:
        os.setegid(0)
        os.umask(before)
    try:
        yield made
    finally:
        made.close()
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=within)
