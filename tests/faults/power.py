"""A file system that forgets what was not synced: `python -m tests.faults.power DIRECTORY`.

`mkdir DIRECTORY/.cut` cuts the power: from then on every call fails. `mkdir DIRECTORY/.on-SEED` turns it on
again: files have what was synced, and any of what was written after that, as a disk does that was writing;
names are those that were there when their directory was last synced. Both are answered with EEXIST.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import sys
import time
from typing import Any

import mfusepy


class File:
    def __init__(self, mode: int) -> None:
        self.mode = mode
        self.data = bytearray()
        self.synced = b""
        self.unsynced: list[tuple[int, bytes | None]] = []
        """What was written where, or (size, None): cut or filled to that size."""
        self.changed = time.time_ns()

    def apply(self, at: int, written: bytes | None) -> None:
        if written is None:
            self.data = self.data[:at] + bytes(max(0, at - len(self.data)))
            return
        self.data += bytes(max(0, at - len(self.data)))
        self.data[at : at + len(written)] = written

    def write(self, at: int, written: bytes | None) -> None:
        self.apply(at, written)
        self.unsynced.append((at, written))
        self.changed = time.time_ns()

    def sync(self) -> None:
        self.synced, self.unsynced = bytes(self.data), []

    def lose(self, chance: random.Random) -> None:
        """Become what a disk may hold that lost its power."""
        kept, share = self.unsynced, chance.choice((0.0, 0.5, 1.0))
        self.data = bytearray(self.synced)
        for at, written in kept:
            if chance.random() < share:
                self.apply(at, written)
        self.sync()


class Volatile(mfusepy.Operations):  # type: ignore[misc]
    use_ns = True

    def __init__(self) -> None:
        self.names: dict[str, File] = {}
        self.synced_names: dict[str, File] = {}
        self.directories = {"/"}
        self.dead = False
        self.syncs = 0

    def _living(self) -> None:
        if self.dead:
            raise mfusepy.FuseOSError(errno.EIO)

    def _file(self, path: str) -> File:
        self._living()
        if path not in self.names:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return self.names[path]

    def mkdir(self, path: str, mode: int) -> int:
        if path == "/.cut":
            self.dead = True
        elif path.startswith("/.on-"):
            self._on(random.Random(path))
        else:
            self._living()
            self.directories.add(path)
            return 0
        raise mfusepy.FuseOSError(errno.EEXIST)

    def _on(self, chance: random.Random) -> None:
        for file in set(self.synced_names.values()):
            file.lose(chance)
        self.names, self.dead = dict(self.synced_names), False

    def getattr(self, path: str, fh: Any = None) -> dict[str, Any]:
        if path in self.directories:
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2, "st_uid": os.getuid()}
        if path.startswith(("/.cut", "/.on-")):
            raise mfusepy.FuseOSError(errno.ENOENT)
        file = self._file(path)
        times = dict.fromkeys(("st_mtime", "st_ctime", "st_atime"), file.changed)
        size = {"st_size": len(file.data), "st_nlink": 1, "st_uid": os.getuid()}
        return {"st_mode": stat.S_IFREG | file.mode, **size, **times}

    def readdir(self, path: str, fh: Any) -> list[str]:
        self._living()
        prefix = path.rstrip("/") + "/"
        there = [
            n for n in (*self.names, *self.directories) if n != "/" and n.rpartition("/")[0] + "/" == prefix
        ]
        return [".", "..", *(name.removeprefix(prefix) for name in there)]

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        self._living()
        self.names[path] = File(mode & 0o777)
        return 0

    def open(self, path: str, flags: int) -> int:
        self._file(path)
        return 0

    def read(self, path: str, size: int, offset: int, fh: Any) -> bytes:
        return bytes(self._file(path).data[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: Any) -> int:
        self._file(path).write(offset, bytes(data))
        return len(data)

    def truncate(self, path: str, length: int, fh: Any = None) -> int:
        self._file(path).write(length, None)
        return 0

    def fsync(self, path: str, datasync: int, fh: Any) -> int:
        self._file(path).sync()
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: Any) -> int:
        self._living()
        inside = path.rstrip("/") + "/"
        others = {n: f for n, f in self.synced_names.items() if n.rpartition("/")[0] + "/" != inside}
        now = {n: f for n, f in self.names.items() if n.rpartition("/")[0] + "/" == inside}
        self.synced_names = others | now
        return 0

    def unlink(self, path: str) -> int:
        self._file(path)
        del self.names[path]
        return 0

    def rename(self, old: str, new: str) -> int:
        self.names[new] = self._file(old)
        del self.names[old]
        return 0

    def link(self, target: str, source: str) -> int:
        if target in self.names:
            raise mfusepy.FuseOSError(errno.EEXIST)
        self.names[target] = self._file(source)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        if path not in self.directories:
            self._file(path).mode = mode & 0o777
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        return 0

    def utimens(self, path: str, times: Any = None) -> int:
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        return {
            "f_bsize": 4096,
            "f_frsize": 4096,
            "f_blocks": 1 << 20,
            "f_bavail": 1 << 20,
            "f_bfree": 1 << 20,
        }

    def flush(self, path: str, fh: Any) -> int:
        return 0

    def release(self, path: str, fh: Any) -> int:
        return 0


if __name__ == "__main__":
    mfusepy.FUSE(
        Volatile(), sys.argv[1], foreground=True, nothreads=True, attr_timeout=0, entry_timeout=0,
        negative_timeout=0,
    )  # fmt: skip
