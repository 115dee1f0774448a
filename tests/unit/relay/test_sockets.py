from __future__ import annotations

import socket

from edgeward.relay import sockets
from edgeward.relay.listening import opened
from edgeward.relay.place import Address


def test_both_sides_notice_a_peer_that_is_gone_without_a_word() -> None:
    (listener,) = opened([Address(socket.AF_INET, ("127.0.0.1", 0))])
    near = sockets.made(socket.AF_INET)
    near.connect_ex(listener.socket.getsockname())
    listener.socket.setblocking(True)
    far = sockets.accepted(listener.socket)

    for stream in (near, far):
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert stream.gettimeout() == 0
        stream.close()
    listener.socket.close()


def test_what_the_peer_has_not_taken_is_known() -> None:
    near, far = socket.socketpair()
    plain = sockets.Socket(near.family, near.type, near.proto, near.detach())
    plain.send(b"x" * 5000)

    assert sockets.unsent(plain) >= 5000
    far.recv(5000, socket.MSG_WAITALL)
    assert sockets.unsent(plain) == 0
    plain.close()
    far.close()
