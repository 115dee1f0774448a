"""rootd as a program: what it is told, what must hold before it starts, and the socket it takes."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import resource
import signal
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path

from edgeward.rootd import trusted
from edgeward.rootd.audit import AuditLog
from edgeward.rootd.serving import Server
from edgeward.rootd.table import builtin, people, remains
from edgeward.rootd.table.reading import Table

SOCKET = "/run/edgeward-rootd/rootd.sock"
ACTIONS = "/etc/edgeward/actions.d"
LOG = "/var/log/edgeward-rootd"


def main() -> int:
    given = _parser().parse_args()
    os.umask(0o077)
    try:
        trusted.directory(Path(__file__).resolve().parent)  # code that others can write is theirs, not root's
        faces = [people.uid(name) for name in given.user]
        _limit()
        what_runs = (given.relay_user, given.vpn_user, given.libreswan)
        table = builtin.table(given.actions, given.socket.parent, faces, *what_runs)
        log = AuditLog(given.log)
        server = Server(listening(given.socket)[0], table, log)
        remains.sweep(given.socket.parent)
    except (trusted.Untrusted, people.Unknown, OSError) as error:
        print(f"edgeward rootd: {error}", file=sys.stderr)  # noqa: T201 - for who started it
        return 2
    asyncio.run(_serve(server, table, given.attached))
    return 0


async def _serve(server: Server, table: Table, attached: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.end)
    loop.add_signal_handler(signal.SIGHUP, table.forget)
    if attached:
        loop.add_reader(sys.stdin, server.end)
    _say_ready()
    await server.run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("edgeward rootd", description="Does typed, listed actions as root.")
    parser.add_argument("--socket", type=Path, default=SOCKET, help="where to listen, if no socket is passed")
    parser.add_argument("--actions", type=Path, default=ACTIONS, help="directory of the operators' actions")
    parser.add_argument("--log", type=Path, default=LOG, help="directory of its audit log")
    parser.add_argument("--attached", action="store_true", help="end when standard input does")
    parser.add_argument("--relay-user", default=builtin.RELAY_USER, help="whom relays run as")
    parser.add_argument("--vpn-user", default=builtin.VPN_USER, help="whom IKE daemons run as")
    parser.add_argument("--libreswan", type=Path, default="/", help="what Libreswan is installed below")
    parser.add_argument("--user", action="append", default=[], help="whom node and controller run as")
    return parser


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def listening(path: Path) -> tuple[socket.socket, int]:
    """Give the socket systemd passed (sd_listen_fds(3)), else listen at a path, in place of a dead one's.

    Its directory is locked as long as the descriptor, which comes along, is open.
    """
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        os.set_inheritable(3, False)
        return socket.socket(fileno=3), 3
    within = trusted.made(path.parent)
    fcntl.flock(within, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path.name, dir_fd=within, follow_symlinks=False).st_mode):
            os.unlink(path.name, dir_fd=within)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.bind(f"/proc/self/fd/{within}/{path.name}")
    os.chmod(path.name, 0o666, dir_fd=within)  # noqa: S103 - who somebody is decides, not who may connect
    found.listen(socket.SOMAXCONN)
    return found, within


def _say_ready() -> None:
    """Tell the manager (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] in ("/", "@"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(b"READY=1", address.replace("@", "\0", 1))
