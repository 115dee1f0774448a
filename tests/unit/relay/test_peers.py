"""Who is at the other end of a Unix socket."""

from __future__ import annotations

import os
import socket

import pytest

from edgeward.relay.peers import Allowed, peer_of, user_id
from edgeward.relay.sockets import Socket

_FAR = 3_000_000_000
"""As directories give out: beyond what a signed number holds."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_users_and_groups_with_high_numbers_are_known_by_them() -> None:
    try:
        os.setegid(_FAR)
        os.seteuid(_FAR)
        near, far = socket.socketpair()
    except OSError:
        pytest.skip("such users are not mapped here")
    finally:
        os.seteuid(0)
        os.setegid(0)
    plain = Socket(near.family, near.type, near.proto, near.detach())
    peer = peer_of(plain)
    plain.close()
    far.close()

    assert peer.user == _FAR and _FAR in peer.groups
    assert Allowed(users=frozenset({user_id(str(_FAR))})).allows(peer)
    assert Allowed(groups=frozenset({_FAR})).allows(peer)
