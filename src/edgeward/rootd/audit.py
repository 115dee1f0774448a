"""The audit log: a JSON line for each request, each with the hash of the line before, so that none can be
changed or cut out without all that follow telling."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgeward.rootd import trusted

NAME = "audit.log"
MOST_BYTES, MOST_FILES = 16 << 20, 10
_HOW = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_TAIL = 1 << 18
"""Longer than any line: what came in a frame of 64 KB is three times as long in JSON's escapes at most."""


class AuditLog:
    """Raises Untrusted or OSError where it cannot be written; then nothing is to be done either."""

    def __init__(self, directory: Path, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes, self._within = most_bytes, trusted.made(directory)
        try:
            fcntl.flock(self._within, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise trusted.Untrusted(f"{directory}: another rootd writes there; end it first") from error
        self.number, self.newest = 0, ""
        self._open()
        tail = self._tail()
        if tail and not tail.endswith(b"\n"):  # killed, or the disk full, in the middle of a line
            self._append(b"\n")
        self._learn(tail)

    def write(self, record: dict[str, Any]) -> None:
        """Add a line; ``n`` counts them, ``before`` is the SHA-256 of the line before (without its end)."""
        if self._size >= self._most_bytes:
            self._rotate()
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"n": self.number + 1, "at": at, **record, "before": self.newest}).encode()
        self._append(line + b"\n")
        self.number, self.newest = self.number + 1, hashlib.sha256(line).hexdigest()

    def keep(self) -> None:
        """Have the disk hold what was written."""
        os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)
        os.close(self._within)

    def _append(self, data: bytes) -> None:
        if os.write(self._file, data) != len(data):
            os.ftruncate(self._file, self._size)
            raise OSError(28, "the audit log cannot be written: no space left on device")
        self._size += len(data)

    def _open(self) -> None:
        self._file = os.open(NAME, _HOW, 0o600, dir_fd=self._within)
        found = os.fstat(self._file)
        trusted.check(found, NAME, stat.S_IFREG)
        self._size = found.st_size

    def _tail(self) -> bytes:
        if self._size:
            return os.pread(self._file, _TAIL, max(0, self._size - _TAIL))
        try:  # killed in the middle of a rotation
            before = os.open(f"{NAME}.1", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._within)
        except FileNotFoundError:
            return b""
        with open(before, "rb") as opened:  # noqa: PTH123 - a descriptor
            return os.pread(opened.fileno(), _TAIL, max(0, os.fstat(before).st_size - _TAIL))

    def _learn(self, tail: bytes) -> None:
        """Go on behind the last line; one that was torn counts, so that it cannot be made to disappear."""
        if not (lines := tail.splitlines()):
            return
        self.newest = hashlib.sha256(lines[-1]).hexdigest()
        for line in reversed(lines):
            try:
                self.number += int(json.loads(line)["n"])
                return
            except (ValueError, KeyError, TypeError):
                self.number += 1

    def _rotate(self) -> None:
        """Begin another file. It is there before any is renamed: failing again and again loses none."""
        self.keep()
        following = os.open(f"{NAME}.next", _HOW | os.O_TRUNC, 0o600, dir_fd=self._within)
        try:
            for index in range(MOST_FILES - 1, -1, -1):
                old = NAME if index == 0 else f"{NAME}.{index}"
                with suppress(FileNotFoundError):
                    os.rename(old, f"{NAME}.{index + 1}", src_dir_fd=self._within, dst_dir_fd=self._within)
            os.rename(f"{NAME}.next", NAME, src_dir_fd=self._within, dst_dir_fd=self._within)
        except OSError:
            os.close(following)
            raise
        os.close(self._file)
        self._file, self._size = following, 0
