"""Libreswan's daemon in a namespace: as powerless as strongSwan's, with its own NSS database.

Whoever may write to its socket has it do all it can, and that is to run programs too (``leftupdown``): so it
is not root, and nobody but the node may. What the node tells it by files is in ``own``, which is the node's:
secrets and certificates. Its log is there too.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from edgeward.rootd import trusted
from edgeward.rootd.table import daemons, kernel, namespaces, tunnels

SOCKET: Final = "pluto.ctl"
_PROGRAMS: Final = Path("/usr/libexec/ipsec")
_CERTUTIL: Final = "/usr/bin/certutil"
_CONF: Final = "ipsec.conf"
_SECRETS: Final = "ipsec.secrets"
_KEPT: Final = (kernel.NET_ADMIN, kernel.NET_BIND_SERVICE)
_SECONDS: Final = 10.0


class Users(NamedTuple):
    """Whom it runs as, and whose ``own`` is."""

    daemon: pwd.struct_passwd
    node: int
    group: int


def start(place: Path, found: int, namespace: str, prefix: str, user: str, node: str, group: str) -> str:
    """Start it, unless it runs; raises NotStarted. ``prefix``: what Libreswan is installed below."""
    if daemons.living(found, namespace) is None:
        raise namespaces.Missing(f"there is no namespace {namespace}; create it first")
    within = tunnels.records(place, namespace)
    if daemons.living(within, tunnels.RECORD) is not None:
        if SOCKET in os.listdir(within):  # noqa: PTH208 - of an open directory
            return "pluto runs already"
        daemons.end(within, tunnels.RECORD)  # we were killed before anybody could come to it
    program = _program(Path(prefix))
    here, users = place / "vpn" / namespace, Users(daemons.user(user, "vpn"), int(node), int(group))
    _lay_out(within, here, users)
    argv = (
        program,
        "--config",
        str(here / _CONF),
        "--rundir",
        str(here / "run"),
        "--nhelpers",
        "1",
        "--nofork",
    )
    prepare = partial(_prepare, found, namespace, users.daemon, Path(prefix))
    pidfd = daemons.begin(within, tunnels.RECORD, argv, dict, prepare)
    living = daemons.living(within, tunnels.RECORD)
    path = f"/proc/self/fd/{within}/run/{SOCKET}"
    missing = tunnels.wait(pidfd, living[0] if living else 0, partial(_answers, path))
    if missing:
        daemons.end(within, tunnels.RECORD)
        raise daemons.NotStarted(
            f"pluto did not come up: {missing}; see whether another IKE daemon runs in {namespace}, "
            f"and {here}/own/pluto.log"
        )
    _as(users.daemon.pw_uid, users.daemon.pw_gid, lambda: Path(path).chmod(0o660))
    os.symlink(Path(program).parent, "programs", dir_fd=within)
    os.symlink(f"run/{SOCKET}", SOCKET, dir_fd=within)  # last: who sees it may come
    return "pluto is started"


def conf(here: Path) -> str:
    """Give the daemon's part of ipsec.conf; connections are never in it, and are loaded one by one."""
    return f"""\
config setup
	nssdir="{here}/own/nss"
	secretsfile="{here}/{_SECRETS}"
	ipsecdir="{here}/own"
	logfile="{here}/own/pluto.log"
	dumpdir="{here}/run"
	audit-log=no
	dnssec-enable=no
	ikev1-policy=accept
"""


def _program(prefix: Path) -> str:
    program = prefix / _PROGRAMS.relative_to("/") / "pluto"
    try:
        trusted.program(str(program))
        trusted.program(_CERTUTIL)
    except trusted.Untrusted as error:
        raise daemons.NotStarted(
            f"{error}; install libreswan, or say below which directory it stands: rootd --libreswan"
        ) from error
    return str(program)


def _lay_out(within: int, here: Path, users: Users) -> None:
    """Have its directories be there: ``own`` the node writes and it reads, ``run`` the other way round."""
    who = users.daemon
    _directory(within, "own", users.node, who.pw_gid)
    _directory(within, "run", who.pw_uid, users.group)
    for name in (SOCKET, "programs", f"run/{SOCKET}", "run/pluto.pid"):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=within)
    _write(within, _CONF, conf(here))
    _write(within, _SECRETS, f"include {here}/own/*.secrets\n")
    _as(users.node, who.pw_gid, partial(_own, within))


def _write(within: int, name: str, text: str) -> None:
    how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(f"{name}.new", how, 0o644, dir_fd=within), "w") as following:  # noqa: PTH123
        os.fchmod(following.fileno(), 0o644)
        following.write(text)
    os.rename(f"{name}.new", name, src_dir_fd=within, dst_dir_fd=within)


def forget(within: int) -> None:
    """Take away what the node told it, secrets too."""
    for name in ("own", "run"):
        if name in os.listdir(within):
            shutil.rmtree(name, dir_fd=within)


def _own(within: int) -> None:
    """Make what is to be in ``own``; run as the node."""
    os.umask(0o007)
    own = os.open("own", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    os.fchdir(own)
    os.close(os.open("pluto.log", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o660))
    if not Path("nss/cert9.db").exists():
        shutil.rmtree("nss.new", ignore_errors=True)
        Path("nss.new").mkdir(mode=0o2770)
        argv = [_CERTUTIL, "-N", "-d", "sql:nss.new", "--empty-password"]
        subprocess.run(argv, env={}, check=True, capture_output=True, timeout=_SECONDS)  # noqa: S603 - fixed
        Path("nss.new").rename("nss")  # pluto does not start with half of it
    for each in Path("nss").iterdir():
        each.chmod(0o660)


def _directory(within: int, name: str, uid: int, gid: int) -> None:
    """Have a directory of somebody's be there. They make it, where nobody else comes by: giving one away
    would take CHOWN."""
    if name in os.listdir(within):
        return
    hidden = f"{name}.new"
    with suppress(FileExistsError):
        os.mkdir(hidden, 0o700, dir_fd=within)
    outer = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    with suppress(FileExistsError):
        os.mkdir("open", 0o700, dir_fd=outer)
    inner = os.open("open", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=outer)
    os.fchmod(inner, 0o777)
    with suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=inner)
    _as(uid, gid, partial(_made, inner, name))
    os.rename(name, name, src_dir_fd=inner, dst_dir_fd=within)
    os.rmdir("open", dir_fd=outer)
    os.rmdir(hidden, dir_fd=within)
    for each in (inner, outer):
        os.close(each)


def _made(within: int, name: str) -> None:
    os.mkdir(name, 0o700, dir_fd=within)
    os.chmod(name, 0o2750, dir_fd=within)  # noqa: S103 - the other of the two reads


def _as(uid: int, gid: int, do: Callable[[], None]) -> None:
    """Do something as somebody without rights; raises OSError with what went wrong."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _do(uid, gid, do, writing)
    os.close(writing)
    with open(reading, "rb") as said:  # noqa: PTH123 - a descriptor
        problem = said.read(1000).decode(errors="replace")
    os.waitpid(pid, 0)
    if problem:
        raise OSError(problem)


def _do(uid: int, gid: int, do: Callable[[], None], writing: int) -> NoReturn:
    try:
        kernel.become_powerless(uid, gid)
        do()
    except BaseException as error:
        os.write(writing, str(error).encode() or b"it ended")
        os._exit(1)
    os._exit(0)


def _prepare(found: int, namespace: str, who: pwd.struct_passwd, prefix: Path) -> None:
    namespaces.enter(found, namespace)
    if prefix != Path("/"):
        kernel.see_below(prefix, _PROGRAMS.parent)  # it knows its other programs by their whole paths
    kernel.become_powerless(who.pw_uid, who.pw_gid, _KEPT)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(1)
        try:
            asking.connect(path)
        except OSError:
            return False
    return True
