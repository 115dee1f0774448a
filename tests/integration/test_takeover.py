"""Two nodes for one gateway: one is active, the other takes over, and who was active before gives way."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.integration.processes import until
from tests.integration.rootd_rig import IS_ROOT
from tests.integration.takeover_rig import Host, Takeover, answering, takeover
from tests.integration.vpn_rig import Site, has_charon, ping

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces"),
    pytest.mark.skipif(not has_charon(), reason="no charon-systemd here"),
]


class Pair:
    def __init__(self, rig: Takeover, peer: Site, one: Host, other: Host) -> None:
        self.rig, self.peer, self.one, self.other = rig, peer, one, other

    def is_only(self, host: Host) -> None:
        """See that this one, and not the other, comes to have the address and to carry the tunnel."""
        rest = self.other if host is self.one else self.one
        until(lambda: host.active and host.carries, 20, f"{host.name} to be active")
        until(lambda: not rest.active and not rest.carries, 20, f"{rest.name} to give way")
        assert self.pings()

    def pings(self) -> bool:
        """Whether the customer reaches what is behind the edge, soon."""
        until(lambda: ping(self.peer, "10.2.0.1", "10.77.0.1") == 0, 10, "an answer through the tunnel")
        return True


@pytest.fixture(scope="module")
def pair(needs: Callable[[str], str]) -> Iterator[Pair]:
    with takeover(needs) as rig, ExitStack() as stack:
        one, other = (rig.host(name, number) for name, number in (("edge-1", 1), ("edge-2", 3)))
        peer = rig.plug(2, bridge=False)
        stack.enter_context(answering(peer))
        one.start(*rig.joining("edge-1"))
        until(lambda: one.active and one.carries, 30, "the first one")
        other.start(*rig.joining("edge-2"))
        until(lambda: other.stands_by, 30, "the other one")
        yield Pair(rig, peer, one, other)


def test_a_gateway_is_active_on_one_node_and_goes_to_the_other_one_when_that_is_killed(pair: Pair) -> None:
    pair.is_only(pair.one)
    assert pair.one.node is not None
    pair.one.node.send(signal.SIGKILL)
    pair.one.node.wait()

    until(lambda: pair.other.active and pair.other.carries, 20, "the other one")
    assert pair.pings()

    pair.one.start()
    pair.is_only(pair.other)
    assert pair.one.stands_by


def test_who_is_told_so_takes_it_over_at_once_as_keepalived_has_it(pair: Pair) -> None:
    until(lambda: pair.one.stands_by or pair.other.stands_by, 20, "one that stands by")
    following = pair.one if pair.one.stands_by else pair.other

    assert pair.rig.said("vpn", "promote", "berlin", "--node", following.name)["node"] == following.name

    pair.is_only(following)


def test_one_that_was_paused_gives_way_before_it_does_anything_else(pair: Pair) -> None:
    until(lambda: pair.one.stands_by or pair.other.stands_by, 20, "one that stands by")
    paused, following = (pair.other, pair.one) if pair.one.stands_by else (pair.one, pair.other)
    assert paused.node is not None
    paused.node.send(signal.SIGSTOP)
    try:
        until(lambda: following.active and following.carries, 20, "the other one")
    finally:
        paused.node.send(signal.SIGCONT)

    pair.is_only(following)
