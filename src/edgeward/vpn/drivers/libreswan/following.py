"""Follows a daemon: the lines of its log as they are written, and its end, without looking all the time."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgeward.errors import Unavailable

_IN_MODIFY: Final = 0x2
_MOST: Final = 8 * 2**20
"""Bytes; a longer log is begun anew."""
_LONGEST_LINE: Final = 65_536
_libc = ctypes.CDLL(None, use_errno=True)


class Log:
    """``line()`` is called with each line from now on. To be closed."""

    def __init__(self, path: Path, line: Callable[[str], None]) -> None:
        self._path = path
        self._line = line
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
        self._file.seek(0, os.SEEK_END)
        self._rest = b""
        try:
            self._watch = _watch(path)
        except Unavailable:
            self._file.close()
            raise
        asyncio.get_running_loop().add_reader(self._watch, self._changed)

    def close(self) -> None:
        if not self._file.closed:
            asyncio.get_running_loop().remove_reader(self._watch)
            os.close(self._watch)
            self._file.close()

    def _changed(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._watch, 65_536)
        with suppress(FileNotFoundError):  # it goes with its daemon
            if self._path.stat().st_size < self._file.tell():
                self._file.seek(0)
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        for line in lines:
            self._line(line.decode(errors="replace"))
        if self._file.tell() > _MOST:
            with suppress(OSError):
                os.truncate(self._path, 0)  # the daemon appends
                self._file.seek(0)


class Life:
    """``ended()`` is called when the process ends whose id a file says. To be closed."""

    def __init__(self, file: Path, ended: Callable[[], None]) -> None:
        self._ended = ended
        try:
            self._pidfd = os.pidfd_open(int(file.read_text()))
        except (OSError, ValueError) as error:
            raise Unavailable(f"no process runs as {file} says; it is started again") from error
        asyncio.get_running_loop().add_reader(self._pidfd, self._over)

    def close(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _over(self) -> None:
        self.close()
        self._ended()


def _watch(path: Path) -> int:
    descriptor = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if descriptor < 0 or _libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_MODIFY) < 0:
        reason = errno.errorcode.get(ctypes.get_errno(), "?")
        if descriptor >= 0:
            os.close(descriptor)
        raise Unavailable(f"{path} cannot be watched: {reason}; raise fs.inotify.max_user_instances")
    return descriptor
