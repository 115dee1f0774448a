from __future__ import annotations

import os
import threading

import pytest

from edgeward.relay.loop import IN, Loop
from edgeward.relay.sockets import Socket


def test_timers_ring_in_order_and_cancelled_ones_do_not() -> None:
    loop, rung = Loop(), []
    loop.later(0.02, lambda: rung.append("second"))
    loop.later(0.01, lambda: rung.append("first"))
    loop.later(0.015, lambda: rung.append("never")).cancel()
    loop.later(0.03, loop.stop)
    loop.run()

    assert rung == ["first", "second"]


def test_trouble_with_one_descriptor_is_told_and_the_others_go_on(capfd: pytest.CaptureFixture[str]) -> None:
    loop, heard = Loop(), []
    bad, good = os.pipe(), os.pipe()
    loop.watch(bad[0], lambda events: os.read(bad[0], 1)[7], IN)

    def hear(_events: int) -> None:
        heard.append(os.read(good[0], 1))
        loop.stop()

    loop.watch(good[0], hear, IN)
    os.write(bad[1], b"x")
    loop.later(0.05, lambda: os.write(good[1], b"y") and None)
    loop.run()

    assert heard == [b"y"]
    assert "IndexError" in capfd.readouterr().err
    for fd in (*bad, *good):
        os.close(fd)


def test_a_closed_sockets_number_is_nobody_elses_before_the_round_is_over() -> None:
    import socket

    loop, numbers = Loop(), []
    near, far = socket.socketpair()
    plain = Socket(near.family, near.type, near.proto, near.detach())
    number = plain.fileno()

    def told(_events: int) -> None:
        loop.close(plain)
        fresh = os.dup(far.fileno())
        numbers.append(fresh)
        os.close(fresh)
        loop.stop()

    loop.watch(number, told, IN)
    far.send(b"x")
    loop.run()

    assert number not in numbers
    assert plain.fileno() == -1
    far.close()


def test_what_is_due_in_years_is_waited_for_as_well() -> None:
    loop, rung = Loop(), []
    loop.later(1e9, lambda: rung.append("never"))
    ends = os.eventfd(0)

    def end(_events: int) -> None:
        loop.stop()

    loop.watch(ends, end, IN)
    threading.Timer(0.05, lambda: os.eventfd_write(ends, 1)).start()
    loop.run()

    assert rung == []
    os.close(ends)
