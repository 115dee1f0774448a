"""What built-in actions leave running: a record each of pid, start time and boot, written by the daemon
before it becomes its program, so that it is found again whatever was killed in between, and nothing else."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import select
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from edgeward.rootd import trusted

_END_SECONDS = 3.0


class NotStarted(Exception):
    """The message says why, and what to do."""


def user(name: str, purpose: str) -> pwd.struct_passwd:
    """Give whom something runs as; raises NotStarted. ``purpose`` as in ``rootd --relay-user``."""
    try:
        found = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError as error:
        option = f"make it, or say rootd --{purpose}-user"
        raise NotStarted(f"there is no user {name} for the {purpose}; {option}") from error
    if found.pw_uid == 0:
        raise NotStarted(f"the {purpose} is not to be root; say another rootd --{purpose}-user")
    return found


def locked(place: Path, *namespace: str) -> int:
    """Give the records of namespaces, and hold off, until exec or exit, who sweeps (``remains``) and all who
    begin or end something in the namespace that is named.

    Who waits for a daemon that does not come up keeps nobody waiting elsewhere. There are as many locks as
    never have to be taken away: two names may share one.
    """
    found = trusted.made(place / "namespaces")
    fcntl.flock(found, fcntl.LOCK_SH)
    within = trusted.made(place / "locks")
    for name in namespace:
        how = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        number = hashlib.sha256(name.encode()).hexdigest()[:3]
        fcntl.flock(os.open(number, how, 0o600, dir_fd=within), fcntl.LOCK_EX)
    os.close(within)
    return found


def living(within: int, name: str) -> tuple[int, int] | None:
    """Give pid and pidfd (to be closed) of the daemon that a record in an open directory names."""
    try:
        words = trusted.file(name, within, name).decode().split()
        pid = int(words[0])
        pidfd = os.pidfd_open(pid)
    except (trusted.Untrusted, ProcessLookupError, ValueError, IndexError):
        return None
    if _record(pid).split() == words:  # looked at with the pidfd open: the pid is nobody else's now
        return pid, pidfd
    os.close(pidfd)
    return None


def begin(
    within: int, name: str, argv: tuple[str, ...], environment: Callable[[], Mapping[str, str]],
    prepare: Callable[[], None], keep: Sequence[int] = (),
) -> int:  # fmt: skip
    """Start a daemon in a session of its own that ``prepare`` has made powerless; gives its pidfd.

    ``keep`` are open in it, from 3 on. Raises OSError where it did not become its program.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(within, name, argv, environment, prepare, keep, writing)
    os.close(writing)
    with open(reading, "rb") as said:  # noqa: PTH123 - a descriptor
        problem = said.read(1000).decode()
    if problem:
        os.waitpid(pid, 0)
        raise OSError(problem)
    return os.pidfd_open(pid)


def end(within: int, name: str) -> bool:
    """End the daemon of a record, which goes too; gives whether one lived."""
    found = living(within, name)
    if found is not None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(found[1], number)
            if ended(found[1], _END_SECONDS):
                break
        os.close(found[1])
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=within)
    return found is not None


def ended(pidfd: int, seconds: float) -> bool:
    return bool(select.select([pidfd], [], [], seconds)[0])


def _become(
    within: int, name: str, argv: tuple[str, ...], environment: Callable[[], Mapping[str, str]],
    prepare: Callable[[], None], keep: Sequence[int], writing: int,
) -> NoReturn:  # fmt: skip
    try:
        os.setsid()
        how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        following = os.open(f"{name}.next", how, 0o600, dir_fd=within)
        os.write(following, _record(os.getpid()).encode())
        os.rename(f"{name}.next", name, src_dir_fd=within, dst_dir_fd=within)
        prepare()
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        writing, *high = (
            fcntl.fcntl(d, fcntl.F_DUPFD_CLOEXEC, 100) for d in (writing, *[nowhere] * 3, *keep)
        )
        for number, descriptor in enumerate(high):
            os.dup2(descriptor, number)
        os.execve(argv[0], argv, environment())  # noqa: S606 - fixed argv, no shell
    except BaseException as error:
        os.write(writing, str(error).encode() or b"it ended")
        os._exit(1)


def _record(pid: int) -> str:
    """Say what no other process has in common with it: pid, start time, and the boot they count from."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "" if state in ("Z", "X") else f"{pid} {rest[18]} {boot}"
