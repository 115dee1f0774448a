"""The other side's configuration, given to the real programs as it is printed, brings the tunnel up."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeward.sealing import Seal, Sealed
from edgeward.vpn.desired import Connection
from edgeward.vpn.drivers.strongswan.driver import opened
from edgeward.vpn.other_side import written
from edgeward.vpn.other_side.seen import KEY_HERE
from edgeward.vpn.site import Site
from edgeward.vpn.translate import drawn, router_of
from tests import libreswan
from tests.integration.pluto import pluto
from tests.integration.processes import until
from tests.integration.vpn_drivers import state
from tests.integration.vpn_rig import Wan, has_charon, needs_root, ping, wide_area

pytestmark = [needs_root, pytest.mark.skipif(not has_charon(), reason="no charon-systemd here")]
SECRET = 'a "secret" of # both'
OLD = {
    "ike": {
        "version": 1,
        "proposals": [{"encryption": "aes-128", "integrity": "sha1", "groups": ["group14"]}],
    },
    "ipsec": {"proposals": [{"encryption": "aes-128", "integrity": "sha1"}]},
}


@pytest.fixture
def wan(state_dir: Path) -> Iterator[Wan]:
    with wide_area(state_dir) as found:
        yield found


def declared(**more: Any) -> Connection:
    """Give what comes of a site at 198.51.1.2 whose peer is at 198.51.2.2."""
    seal = Seal(bytes(32))
    site = Site.model_validate(
        {
            "name": "berlin",
            "peer": "198.51.2.2",
            "local_networks": "10.1.0.0/24",
            "remote_networks": ["10.2.0.0/24"],
            "outside": {"address": "198.51.1.2/24"},
            "secret": Sealed.of(SECRET, seal),
        }
        | more
    )
    gateway = drawn(router_of(site), [site], lambda sealed: sealed.reveal(seal)).gateway
    return gateway.connections[0]


def printed(one: Connection, form: Any) -> str:
    """Give the text as ``edgeward vpn peer-config --secret-file`` prints it."""
    key = "0s" + base64.b64encode(SECRET.encode()).decode()
    return written(one, form).replace(f'"{KEY_HERE}"', KEY_HERE).replace(KEY_HERE, key)


def run(*argv: str | Path) -> str:
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"profile": "compatible", "local_id": "@gw.here.example", "remote_id": "user@there.example"},
        {"profile": OLD, "remote_networks": ["10.2.0.0/25", "10.2.0.128/25"]},
    ],
    ids=["modern", "compatible", "ikev1"],
)
async def test_swanctl_loads_it_and_traffic_flows(wan: Wan, more: dict[str, Any]) -> None:
    one = declared(**more)
    here, there = wan.site(1), wan.site(2)
    with here.charon() as mine, there.charon() as far:
        file = there.place / "swanctl.conf"
        file.write_text(printed(one, "strongswan"))
        said = run("swanctl", "--load-all", "--noprompt", "--file", file, "--uri", f"unix://{far.socket}")
        assert "successfully loaded 1 connections, 0 unloaded" in said
        driver = await opened(mine.socket)
        await driver.load(one, None, initiate=True)
        await state(driver, one)
        assert ping(here, here.inner, there.inner) == 0
        await driver.close()


async def test_where_this_side_only_answers_the_other_one_begins(wan: Wan) -> None:
    one = declared(initiator=False)
    here, there = wan.site(1), wan.site(2)
    with here.charon() as mine, there.charon() as far:
        driver = await opened(mine.socket)
        await driver.load(one, None, initiate=False)
        file = there.place / "swanctl.conf"
        file.write_text(printed(one, "strongswan"))
        await asyncio.to_thread(
            run, "swanctl", "--load-all", "--noprompt", "--file", file, "--uri", f"unix://{far.socket}"
        )
        await state(driver, one)
        await driver.close()


async def test_addconn_loads_it_and_the_peers_agree(wan: Wan) -> None:
    one = declared(profile="compatible", local_id="@gw.here.example")
    here, there = wan.site(1), wan.site(2)
    with here.charon() as mine, pluto(there, there.place / "pluto") as far:
        conf, _, secrets = printed(one, "libreswan").partition("\n# ")
        (far.place / "berlin.conf").write_text(conf)
        (far.place / "own" / "berlin.secrets").write_text(secrets.partition("\n")[2])
        far.whack("--rereadsecrets")
        run(
            libreswan.tool("addconn"), "--config", far.place / "berlin.conf",
            "--ctlsocket", far.place / "pluto.ctl", "berlin",
        )  # fmt: skip
        driver = await opened(mine.socket)
        await driver.load(one, None, initiate=True)
        await asyncio.to_thread(until, lambda: "established IKE SA" in far.log(), what="pluto agrees")
        await driver.close()
