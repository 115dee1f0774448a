"""Relays inside namespaces of ours: each a user without rights, reached by a Unix socket on the host's side.

The socket is bound here, for Envoy's group, and handed over: a relay has no directory to write.
"""

from __future__ import annotations

import os
import pwd
import select
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from edgeward.rootd import trusted
from edgeward.rootd.table import daemons, kernel, namespaces, sockets

_BACKLOG: Final = 4096
_CONNECT_SECONDS: Final = "2"
"""As Envoy waits for a backend, where nothing else is said: a tunnel whose peer just went swallows SYNs."""
_READY_SECONDS: Final = 8.0


def start(
    place: Path, found: int, namespace: str, python: str, user: str, group: str,
    name: str, address: str, port: str, resolver: str,
) -> str:  # fmt: skip
    """Start a relay, unless it runs, from ``relays/NAMESPACE/NAME.sock`` to an address seen from within."""
    if daemons.living(found, namespace) is None:
        raise namespaces.Missing(f"there is no namespace {namespace}; create it first")
    records = _records(place, namespace)
    if daemons.living(records, name) is not None:
        if f"{name}.sock" in os.listdir(records):  # noqa: PTH208 - of an open directory
            return f"{name} runs already"
        daemons.end(records, name)  # we were killed before anybody could come to it
    argv = (python, "-I", "-m", "edgeward.relay", *_told_by_values(address, port, resolver))
    os.close(trusted.directory(Path(python).parent))
    who = daemons.user(user, "relay")
    with sockets.bound(records, f"{name}.new", socket.SOCK_STREAM, int(group), 0o117) as listener:
        listener.listen(_BACKLOG)
        with sockets.bound(records, f"{name}.notify", socket.SOCK_DGRAM, 0, 0o111) as manager:
            environment = partial(_environment, place / "relays" / namespace / f"{name}.notify")
            prepare = partial(_prepare, found, namespace, who)
            pidfd = daemons.begin(records, name, argv, environment, prepare, [listener.fileno()])
            if not _ready(pidfd, manager):
                daemons.end(records, name)
                words = " ".join(argv[4:])
                raise daemons.NotStarted(
                    f"the relay did not come up; see what it says: edgeward relay {words}"
                )
        os.rename(f"{name}.new", f"{name}.sock", src_dir_fd=records, dst_dir_fd=records)
    return f"{name} is started"


def stop(place: Path, found: int, namespace: str, name: str) -> str:
    if not (place / "relays" / namespace).is_dir():
        return f"{name} did not run"
    return f"{name} is stopped" if _stop(_records(place, namespace), name) else f"{name} did not run"


def stop_all(place: Path, namespace: str) -> None:
    if not (place / "relays" / namespace).is_dir():
        return
    records = _records(place, namespace)
    for name in os.listdir(records):  # noqa: PTH208 - of an open directory
        if "." not in name:
            _stop(records, name)


def _told_by_values(address: str, port: str, resolver: str) -> tuple[str, ...]:
    target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    said = ("--to", target, "--connect-timeout", _CONNECT_SECONDS)
    if resolver != "none":
        return (*said, "--resolver", resolver)
    if not address.replace(".", "").isdecimal() and ":" not in address:
        raise daemons.NotStarted(f"resolver: give the DNS server that knows {address} inside the namespace")
    return said


def _stop(records: int, name: str) -> bool:
    with suppress(FileNotFoundError):
        os.unlink(f"{name}.sock", dir_fd=records)  # first: nobody new comes
    return daemons.end(records, name)


def _records(place: Path, namespace: str) -> int:
    os.close(trusted.made(place / "relays"))
    return trusted.made(place / "relays" / namespace)


def _prepare(found: int, namespace: str, who: pwd.struct_passwd) -> None:
    namespaces.enter(found, namespace)
    kernel.become_powerless(who.pw_uid, who.pw_gid)


def _environment(notified: Path) -> Mapping[str, str]:
    return {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "NOTIFY_SOCKET": str(notified)}


def _ready(pidfd: int, manager: socket.socket) -> bool:
    while True:
        came = select.select([pidfd, manager.fileno()], [], [], _READY_SECONDS)[0]
        if manager.fileno() not in came:
            return False
        if b"READY=1" in manager.recv(4096):
            return True
