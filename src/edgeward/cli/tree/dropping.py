"""`edgeward up` as root: rootd is started as root, and everything else goes on as a user who is not."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer

from edgeward import capabilities
from edgeward.cli.tree import rootd
from edgeward.domain_name import printable
from edgeward.errors import Invalid, Problem

_ROOTD_OPTIONS = ("socket", "actions", "log")


def drop(user: str, config: Path, state: Path, envoy: Path | None) -> None:
    """Start this command anew as that user, with rootd beside it; returns where it is to go on as it is.

    Raises Invalid where the user could not run it, before anything has happened.
    """
    if os.geteuid() != 0 or user == "root":
        return
    found = _user(user)
    made = _give(state, found)
    try:
        see_that_it_can(found, config, state, envoy)
    except Invalid:
        for directory in made:
            directory.rmdir()
        raise
    environment = {**os.environ, "EDGEWARD_STATE_DIR": str(state), "HOME": found.pw_dir, "USER": user}
    environment |= {"LOGNAME": user, **_start_rootd(found)}
    capabilities.become(found.pw_uid, found.pw_gid, os.getgrouplist(user, found.pw_gid))
    argv = [sys.executable, "-P", "-m", "edgeward.cli", *sys.argv[1:]]
    os.execve(argv[0], argv, environment)  # noqa: S606 - becomes itself, as another user


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise Invalid(
            Problem(
                "--user",
                f"there is no user '{printable(name)}' to go on as; run useradd --system {printable(name)},"
                " or name another, root among them",
            )
        ) from None


def _give(state: Path, user: pwd.struct_passwd) -> list[Path]:
    """Make the state directory the user's, where there is none yet or nothing is in it.

    Gives the directories that were made, the deepest first.
    """
    made = [directory for directory in (state, *state.parents) if not directory.exists()]
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        if state.stat().st_uid == 0 and not any(state.iterdir()):
            os.chown(state, user.pw_uid, user.pw_gid)
    except OSError as error:
        raise Invalid(f"{printable(str(state))}: {error.strerror}; name another --state-dir") from error
    return made


def see_that_it_can(user: pwd.struct_passwd, config: Path, state: Path, envoy: Path | None) -> None:
    """See, as that user, that everything it needs is open to it."""
    needed = [
        (Path(sys.executable), os.X_OK, "run"),
        (Path(os.__file__), os.R_OK, "read"),
        (Path(__file__), os.R_OK, "read"),
        (Path(typer.__file__), os.R_OK, "read"),
        (config, os.R_OK, "read"),
        (state, os.R_OK | os.W_OK | os.X_OK, "write to"),
    ]
    needed += [] if envoy is None else [(envoy, os.X_OK, "run")]
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _look(user, needed, writing)
    os.close(writing)
    with open(reading, encoding="utf-8", errors="replace") as answer:  # noqa: PTH123 - a descriptor
        text = answer.read()
    if os.waitpid(pid, 0)[1] != 0:
        raise Invalid(text or f"it cannot be seen what the user {user.pw_name} may read")


def _look(user: pwd.struct_passwd, needed: Sequence[tuple[Path, int, str]], writing: int) -> NoReturn:
    """Be a child that is that user, writes the first thing it may not, and ends."""
    code = 1
    try:
        os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
        missing = next(((path, what) for path, how, what in needed if not os.access(path, how)), None)
        if missing is None:
            code = 0
        else:
            os.write(writing, _sentence(user.pw_name, *missing).encode())
    finally:
        os._exit(code)


def _sentence(user: str, path: Path, what: str) -> str:
    closed = next((above for above in reversed(path.resolve().parents) if not _passable(above)), None)
    where = f", as {printable(str(closed))} is closed to it" if closed is not None else ""
    return (
        f"the user '{user}', as whom all but rootd is to run, may not {what} {printable(str(path))}{where};"
        " open it to that user, move it to where it may, as /opt, or name another user: --user"
    )


def _passable(directory: Path) -> bool:
    try:
        return os.access(directory, os.X_OK)
    except OSError:
        return False


def _start_rootd(user: pwd.struct_passwd) -> dict[str, str]:
    """Start rootd with its keeper, which end with this process; where one runs already, they end at once.

    Gives the variables by which this command, executed anew, knows of them.
    """
    from edgeward.cli.up import keeper_command, rootd_command

    argv = [*keeper_command(), *rootd_command(), "--attached", "--user", user.pw_name]
    for option in _ROOTD_OPTIONS:
        value = os.environ.get(f"EDGEWARD_ROOTD_{option.upper()}")
        argv += [f"--{option}", value] if value else []
    environment = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TZ")}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # closed when this process ends, which may not signal root's any more
    descriptor = ours.detach()
    os.set_inheritable(descriptor, True)
    with theirs:
        keeper = subprocess.Popen(argv, env=environment, stdin=theirs.fileno(), process_group=0)  # noqa: S603
    return rootd.told(descriptor, keeper.pid)
