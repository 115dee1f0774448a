"""Who may connect to the relay's Unix sockets, beyond what the file's mode says."""

from __future__ import annotations

import errno
import grp
import pwd
import socket
import struct
from typing import Final, NamedTuple

from edgeward.relay.place import Unusable
from edgeward.relay.sockets import Socket

_PEER_GROUPS: Final = 59  # SO_PEERGROUPS, asm-generic/socket.h, Linux 4.13
_CREDENTIALS: Final = struct.Struct("iII")
_MOST_GROUP_BYTES: Final = 1024  # what Python's getsockopt() takes


class Peer(NamedTuple):
    """Who connected, as the kernel knows it from then."""

    pid: int
    user: int
    groups: frozenset[int]


class Allowed(NamedTuple):
    """User and group ids; nobody is turned away where there are none."""

    users: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()

    @property
    def everybody(self) -> bool:
        return not self.users and not self.groups

    def allows(self, peer: Peer) -> bool:
        return self.everybody or peer.user in self.users or not self.groups.isdisjoint(peer.groups)


def peer_of(stream: Socket) -> Peer:
    """Ask who is at the other end of a Unix socket; raises OSError."""
    told = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, group = _CREDENTIALS.unpack(told)
    return Peer(pid, user, frozenset((group, *_other_groups(stream))))


def _other_groups(stream: Socket) -> list[int]:
    """Give the supplementary groups; none where there are more than 256, and who needs one is turned away."""
    try:
        told = stream.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, _MOST_GROUP_BYTES)
    except OSError as error:
        if error.errno == errno.ERANGE:
            return []
        raise
    return [number for (number,) in struct.iter_unpack("I", told)]


def user_id(text: str) -> int:
    """Read a user's name or number; raises Unusable."""
    if text.isdecimal():
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError) as error:
        raise Unusable(f"there is no user {text!r} on this host") from error


def group_id(text: str) -> int:
    """Read a group's name or number; raises Unusable."""
    if text.isdecimal():
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError) as error:
        raise Unusable(f"there is no group {text!r} on this host") from error
