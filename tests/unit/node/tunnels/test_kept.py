"""What a node knows of its gateways, on a disk that takes no more."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from edgeward.errors import Unavailable
from edgeward.node.tunnels.kept import Kept
from edgeward.sealing import Seal, new_key
from tests.unit.vpn.values import connection, gateway


def test_a_start_on_a_full_disk_leaves_the_copy_where_it_is(tmp_path: Path) -> None:
    path, seal, one = tmp_path / "tunnels.db", Seal(new_key()), gateway(connection())
    kept = Kept(path, seal)
    kept.keep([one], [])
    kept.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # SQLite's shared memory does not fit any more
    try:
        with pytest.raises(Unavailable, match="see that its disk has space"):
            Kept(path, seal)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    kept = Kept(path, seal)

    assert kept.whole
    assert kept.gateways() == {one.id: one}
    kept.close()
