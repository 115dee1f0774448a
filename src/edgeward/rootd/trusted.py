"""Opens files and directories that nobody but root can have written, and no way past a symbolic link."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

MOST_BYTES = 65_536


class Untrusted(Exception):
    """Somebody else could have a hand in it; the message says who and what to do."""


def directory(path: Path) -> int:
    """Open a directory (O_RDONLY) that only its owner can write, as all above it; raises Untrusted.

    Each step is opened by its name in the one before, so that nobody can swap what was looked at.
    """
    if not path.is_absolute() or ".." in path.parts:
        raise Untrusted(f"{path}: write the whole path, from / on and without ..")
    parts = path.parts[1:]
    found = _step("/", None, path, Path("/"))
    for index, part in enumerate(parts):
        try:
            following = _step(part, found, path, Path("/", *parts[: index + 1]))
        finally:
            os.close(found)
        found = following
    return found


def made(path: Path) -> int:
    """Open a directory, made where it is not there in one that is nobody else's; raises Untrusted."""
    above, before = directory(path.parent), os.umask(0o022)
    with suppress(FileExistsError):
        os.mkdir(path.name, 0o755, dir_fd=above)  # others come by to the socket, from the first moment on
    os.umask(before)
    os.close(above)
    return directory(path)


def file(name: str, within: int, shown: str, most: int = MOST_BYTES) -> bytes:
    """Give what a small file in an open directory says; raises Untrusted."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=within)
    except OSError as error:
        raise Untrusted(f"{shown}: {error.strerror}") from error
    with open(descriptor, "rb") as opened:  # noqa: PTH123 - a descriptor
        check(os.fstat(descriptor), shown, stat.S_IFREG)
        data = opened.read(most + 1)
    if len(data) > most:
        raise Untrusted(f"{shown} has more than {most} bytes")
    return data


def program(path: str) -> None:
    """See that a program is what root installed; raises Untrusted."""
    within = directory(Path(path).parent)
    try:
        found = os.stat(Path(path).name, dir_fd=within, follow_symlinks=False)
    except OSError as error:
        raise Untrusted(f"{path}: {error.strerror}") from error
    finally:
        os.close(within)
    if stat.S_ISLNK(found.st_mode):
        raise Untrusted(f"{path} is a symbolic link; write {os.path.realpath(path)}")
    check(found, path, stat.S_IFREG)
    if not found.st_mode & 0o111:
        raise Untrusted(f"{path} cannot be executed; chmod +x it")


def check(found: os.stat_result, shown: str, kind: int, sticky: bool = False) -> None:
    """See that it is of that kind and only root, or who runs this, can write it; raises Untrusted."""
    if stat.S_IFMT(found.st_mode) != kind:
        raise Untrusted(f"{shown} is not a {'directory' if kind == stat.S_IFDIR else 'plain file'}")
    if found.st_uid not in (0, os.geteuid()):
        raise Untrusted(f"{shown} belongs to uid {found.st_uid}; chown root it")
    if found.st_mode & 0o022 and not (sticky and found.st_mode & stat.S_ISVTX):
        raise Untrusted(f"{shown} can be written by others; chmod go-w it, or name another place")


def _step(part: str, within: int | None, whole: Path, here: Path) -> int:
    way = os.O_RDONLY if here == whole else os.O_PATH
    try:
        found = os.open(part, way | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    except OSError as error:
        raise Untrusted(f"{whole}: {part}: {error.strerror}; it is to be a directory, and no link") from error
    try:
        shown = f"{whole}: {here}" if here != whole else str(whole)
        check(os.fstat(found), shown, stat.S_IFDIR, sticky=here != whole)
    except Untrusted:
        os.close(found)
        raise
    return found
