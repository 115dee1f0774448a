"""Two nodes for one gateway: one is active, the other takes over, and who was active before gives way."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.integration.processes import until
from tests.integration.rootd_rig import IS_ROOT
from tests.integration.takeover_rig import Host, Takeover, answering, takeover
from tests.integration.vpn_rig import Namespace, has_charon, ping

pytestmark = [
    pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces"),
    pytest.mark.skipif(not has_charon(), reason="no charon-systemd here"),
]


class Pair:
    def __init__(self, rig: Takeover, one: Host, other: Host) -> None:
        self.rig, self.one, self.other = rig, one, other

    def only(self, host: Host) -> bool:
        """Whether this one, and not the other, has the address and carries the tunnel."""
        rest = self.other if host is self.one else self.one
        return host.active and host.carries and not rest.active and not rest.carries


@pytest.fixture
def pair(needs: Callable[[str], str]) -> Iterator[Pair]:
    with takeover(needs) as rig, ExitStack() as stack:
        one, other = (rig.host(name, number, rig.python) for name, number in (("edge-1", 1), ("edge-2", 3)))
        stack.enter_context(answering(rig.plug(2, bridge=False)))
        one.start(*rig.joining("edge-1"))
        until(lambda: one.active and one.carries, 20, "the first one")
        other.start(*rig.joining("edge-2"))
        until(lambda: bool(other._inside("link", "show", "dev", "outside")), 20, "the other one stands by")
        time.sleep(2)
        yield Pair(rig, one, other)


def test_the_other_node_takes_over_when_the_active_one_is_killed(pair: Pair) -> None:
    assert pair.only(pair.one)
    assert pair.one.node is not None
    pair.one.node.send(signal.SIGKILL)
    began = time.monotonic()
    until(lambda: pair.other.active and pair.other.carries, 20, "the other one")
    print("taken over after", time.monotonic() - began)
