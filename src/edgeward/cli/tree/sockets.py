"""Whether we may listen on an address, and if not, who stands in the way."""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeward.gateway.model import Address

_LISTENING = "0A"


def why_not(address: Address) -> str | None:
    """Try to listen on an address; give None, or one sentence with the remedy."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind((address.host, address.port))
            trial.listen(1)
    except OSError as error:
        return _sentence(address, error)
    return None


def _sentence(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        owner = listener_of(address.port)
        return f"{address} is taken{f' by {owner}' if owner else ''}; end that program or choose another port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{address}: this user may not listen on ports below {first_free_port()}; choose a higher port,"
            f" run sysctl net.ipv4.ip_unprivileged_port_start={address.port} as root,"
            " or give Edgeward CAP_NET_BIND_SERVICE"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address}: this host has no such address; choose one that `ip address` shows"
    return f"{address}: {error.strerror}; choose another address"


def listener_of(port: int) -> str | None:
    """Name the program that listens on a TCP port, ``nginx (pid 812)``; None where /proc does not tell us."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for pid in sorted((int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal()), reverse=True):
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if os.readlink(descriptor) in inodes:  # noqa: PTH115 - Path.readlink would be a path
                        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (pid {pid})"
    return None


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = re.split(r"\s+", line.strip())
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found


def first_free_port() -> int:
    with suppress(OSError, ValueError):
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    return 1024
