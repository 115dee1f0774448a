"""What a daemon is told of connections that it does not take any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeward.errors import Invalid
from edgeward.node.tunnels.kept import Kept
from edgeward.node.tunnels.loading import Loading
from edgeward.sealing import Seal, new_key
from edgeward.vpn.drivers.memory import Internet, Memory
from edgeward.vpn.plan import Load, Rest
from tests.unit.vpn.values import connection

HERE = connection()
THERE = connection(
    local_address="198.51.100.9", peer_address="203.0.113.5", local_id="198.51.100.9", peer_id="203.0.113.5",
    local_networks=("10.2.0.0/24",), peer_networks=("10.1.0.0/24",),
)  # fmt: skip


class Refusing(Memory):
    refuses = False

    async def load(self, *given: Any, **more: Any) -> None:
        if self.refuses:
            raise Invalid("it names what is not there any more")
        await super().load(*given, **more)


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_node_that_stands_by_ends_also_what_its_daemon_takes_no_more(
    tmp_path: Path, enabled: bool
) -> None:
    internet = Internet()
    daemon, peer = internet.daemon(), Memory(internet.daemon())
    driver = Refusing(daemon)
    loading = Loading("0123456789ab", Kept(tmp_path / "tunnels.db", Seal(new_key())), lambda: None, {})
    one = HERE.model_copy(update={"enabled": enabled})
    await peer.load(THERE, None, initiate=False)
    await loading.tell(driver, Load(one, None, active=True))
    assert (one.id in daemon.tunnels) == enabled

    driver.refuses = True
    await loading.tell(driver, Rest(one))

    assert not daemon.tunnels
    assert not daemon.wanted
    assert loading.problems[one.id].reason == "it names what is not there any more"
