"""The rig itself: a tunnel between two daemons of the tests' own carries pings that no capture sees."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import vici

from tests.integration.vpn_rig import Site, has_charon, needs_root, ping, wide_area, wire

pytestmark = [needs_root, pytest.mark.skipif(not has_charon(), reason="no charon-systemd here")]


def load(path: Path, mine: Site, theirs: Site, **more: Any) -> vici.Session:
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(str(path))
    session = vici.Session(asking)
    session.load_shared(
        {"id": "k", "type": "IKE", "data": "secret", "owners": [mine.outside, theirs.outside]}
    )
    child = {"local_ts": [mine.network], "remote_ts": [theirs.network], "esp_proposals": ["aes128-sha256"]}
    session.load_conn(
        {
            "c": {
                "version": "2", "proposals": ["aes128-sha256-ecp256"], "local_addrs": [mine.outside],
                "remote_addrs": [theirs.outside], "local": {"auth": "psk", "id": mine.outside},
                "remote": {"auth": "psk", "id": theirs.outside}, "children": {"c": child | more},
            }
        }
    )  # fmt: skip
    return session


def test_pings_pass_through_a_tunnel_and_are_not_seen_on_the_wire(state_dir: Path) -> None:
    with wide_area(state_dir) as wan:
        east, west = wan.site(1), wan.site(2)
        assert ping(east, east.outside, west.outside) == 0
        with wire(wan.router, "site1", east.network) as seen:
            assert ping(east, east.inner, west.inner, count=3) == 3
        assert seen  # the control: without a tunnel they go out in clear
        with east.charon() as mine, west.charon() as theirs:
            load(theirs.socket, west, east)
            session = load(mine.socket, east, west)
            list(session.initiate({"child": "c", "timeout": 5000}))
            with wire(wan.router, "site1", east.network, west.network) as seen:
                assert ping(east, east.inner, west.inner) == 0
        assert seen == []
