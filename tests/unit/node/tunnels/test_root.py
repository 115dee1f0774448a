"""What is asked of rootd for tunnels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from edgeward.errors import Unavailable
from edgeward.node.tunnels.root import MOST_BYTES, Root
from edgeward.rootd import frames
from edgeward.vpn import wiring
from tests.unit.vpn.values import connection


async def test_what_is_more_than_rootd_reads_is_told_with_the_remedy() -> None:
    async def ask(request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"outcome": "done", "exit": 0, "output": "guarded"}

    def pairs(count: int) -> str:
        networks = tuple(f"10.{number // 128}.{number % 128 * 2}.0/24" for number in range(count))
        return wiring.pairs([connection(peer_networks=networks)])

    root = Root(ask)
    assert await root.do("apply-guard", namespace="vpn-0123456789ab", pairs=pairs(4000)) == "guarded"

    with pytest.raises(Unavailable, match=r"apply-guard takes \d+ bytes, and rootd at most 65536; declare"):
        await root.do("apply-guard", namespace="vpn-0123456789ab", pairs=pairs(6000))
    assert MOST_BYTES == frames.MOST_BYTES
