"""strongSwan's daemon in a namespace: a user of its own that may configure that network and bind low ports.

Whoever may write to its socket has it do all it can: it is not root, and loads no plugin that runs programs.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from edgeward.rootd import trusted
from edgeward.rootd.table import daemons, kernel, namespaces, sockets, tunnels

PROGRAM: Final = "/usr/sbin/charon-systemd"
SOCKET: Final = "charon.vici"
NOTHING: Final = "nothing"
"""The level at which it logs nothing, which charon calls -1."""
_CONF: Final = "strongswan.conf"
_PLUGINS: Final = (
    "random", "nonce", "openssl", "aes", "des", "sha1", "sha2", "hmac", "kdf", "xcbc", "cmac", "ctr", "ccm",
    "gcm", "chapoly", "curve25519", "gmp", "ml", "pem", "pkcs1", "pkcs8", "x509", "pubkey", "revocation",
    "constraints", "counters", "socket-default",
)  # fmt: skip
"""Those of them that are not installed are left out by charon; ``ml`` is of 6.0."""
_KEPT: Final = (kernel.NET_ADMIN, kernel.NET_BIND_SERVICE)
"""With NET_ADMIN alone it starts, answers, and hears nobody."""
_BACKLOG: Final = 64


def start(place: Path, found: int, namespace: str, user: str, group: str, level: str) -> str:
    """Start it, unless it runs; raises NotStarted. Where it runs, ``level`` is in force once it reloads."""
    if daemons.living(found, namespace) is None:
        raise namespaces.Missing(f"there is no namespace {namespace}; create it first")
    within = tunnels.records(place, namespace)
    if daemons.living(within, tunnels.RECORD) is not None:
        if SOCKET in os.listdir(within):  # noqa: PTH208 - of an open directory
            _write(within, _CONF, conf(has_esp(within), level))
            return "charon runs already"
        daemons.end(within, tunnels.RECORD)  # we were killed before anybody could come to it
    trusted.program(PROGRAM)
    who = daemons.user(user, "vpn")
    kernel.leave_network()
    _write(within, _CONF, conf(kernel.has_esp(), level))
    with sockets.bound(within, f"{SOCKET}.new", socket.SOCK_STREAM, int(group), 0o117) as listener:
        listener.listen(_BACKLOG)
        environment = partial(_environment, place / "vpn" / namespace / _CONF)
        prepare = partial(_prepare, found, namespace, who)
        pidfd = daemons.begin(within, tunnels.RECORD, (PROGRAM,), environment, prepare, [listener.fileno()])
        living = daemons.living(within, tunnels.RECORD)
        path = f"/proc/self/fd/{within}/{SOCKET}.new"
        missing = tunnels.wait(pidfd, living[0] if living else 0, partial(_answers, path))
        if missing:
            daemons.end(within, tunnels.RECORD)
            raise daemons.NotStarted(
                f"charon did not come up: {missing}; see whether another IKE daemon runs in {namespace}, "
                "and journalctl -t charon-systemd"
            )
        os.rename(f"{SOCKET}.new", SOCKET, src_dir_fd=within, dst_dir_fd=within)
    return "charon is started"


def conf(has_esp: bool, level: str) -> str:
    """Give its strongswan.conf. A peer that does not answer is given up after 7 s; then one begins anew."""
    plane = ("kernel-netlink",) if has_esp else ("kernel-libipsec", "kernel-netlink")  # the first one wins
    return f"""\
charon-systemd {{
    load = {" ".join((*_PLUGINS, *plane, "vici"))}
    retransmit_tries = 3
    retransmit_timeout = 1.0
    retransmit_base = 1.4
    make_before_break = yes
    install_virtual_ip = no
    ikesa_table_size = 256
    ikesa_table_segments = 8
    # of a connection that says so itself; as the one that begins, it needs no permission
    i_dont_care_about_security_and_use_aggressive_mode_psk = yes
    # many tunnels may come from one peer at once
    cookie_threshold = 100
    block_threshold = 500
    plugins {{
        vici {{
            socket = systemd://vici
        }}
    }}
    journal {{
        default = {-1 if level == NOTHING else int(level)}
    }}
}}
"""


def has_esp(within: int) -> bool:
    """Tell which kind it was started for."""
    return b"kernel-libipsec" not in trusted.file(_CONF, within, _CONF)


def _write(within: int, name: str, text: str) -> None:
    how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    following = os.open(f"{name}.new", how, 0o644, dir_fd=within)
    try:
        os.fchmod(following, 0o644)
        os.write(following, text.encode())
    finally:
        os.close(following)
    os.rename(f"{name}.new", name, src_dir_fd=within, dst_dir_fd=within)


def _prepare(found: int, namespace: str, who: pwd.struct_passwd) -> None:
    namespaces.enter(found, namespace)
    kernel.become_powerless(who.pw_uid, who.pw_gid, _KEPT)


def _environment(conf: Path) -> Mapping[str, str]:
    passed = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "vici"}
    return passed | {"STRONGSWAN_CONF": str(conf)}


def _answers(path: str) -> bool:
    """Ask for its version, as vici's packets are: length, type (a command's request is 0), name."""
    name = b"version"
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(1)
        try:
            asking.connect(path)
            asking.sendall(struct.pack("!IBB", 2 + len(name), 0, len(name)) + name)
            return asking.recv(5)[4:] == b"\x01"
        except OSError:
            return False
