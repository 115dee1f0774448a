"""What nodes ask of rootd for a gateway is what rootd takes, spelled as it spells it."""

from __future__ import annotations

import pytest

from edgeward.rootd.table import guard
from edgeward.vpn import wiring
from tests.unit.vpn.values import connection


@pytest.mark.parametrize("mtu", [0, 67, 68, 1400, 65_535, 65_536, 10**9])
def test_any_mtu_that_openstack_takes_can_be_guarded(mtu: int) -> None:
    pairs = wiring.pairs([connection(mtu=mtu)])

    assert guard.typed(pairs) == pairs
