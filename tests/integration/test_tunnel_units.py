"""The units of IKE daemons: judged by systemd's own tools, and the daemons held to what they allow."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edgeward.vpn.driver import Driver
from edgeward.vpn.drivers.libreswan import driver as libreswan_driver
from edgeward.vpn.drivers.strongswan import driver as strongswan_driver
from tests.integration import units
from tests.integration.pluto import pluto
from tests.integration.vpn_drivers import connection
from tests.integration.vpn_rig import PLUGINS, Site, has_charon, needs_root, wide_area

CHARON, PLUTO = "edgeward-tunnel-charon@", "edgeward-tunnel-pluto@"
OF_ROOT = {"setgid", "setuid", "setgroups", "chown"}
"""What daemons do here as root; the units' user is not root, and systemd binds charon's socket."""
KEPT = {"CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"}


@pytest.fixture(autouse=True)
def tools(needs: Callable[[str], str]) -> None:
    needs("systemd-analyze")


@pytest.mark.parametrize(("name", "most"), [(CHARON, 1.7), (PLUTO, 1.9)])
def test_a_daemon_is_exposed_to_no_more_than_said(name: str, most: float) -> None:
    assert units.exposure(units.UNITS / f"{name}.service") <= most


def test_the_units_are_sound(tmp_path: Path) -> None:
    names = [f"{CHARON}.service", f"{CHARON}.socket", f"{PLUTO}.service"]
    programs = ("/usr/sbin/charon-systemd", "/usr/libexec/ipsec/pluto")
    assert units.sound(tmp_path, names, programs=programs) == ""


@pytest.mark.parametrize("name", [CHARON, PLUTO])
def test_a_daemon_has_the_rights_that_rootd_gives_it_and_no_others(name: str) -> None:
    values = dict(
        line.split("=", 1)
        for line in (units.UNITS / f"{name}.service").read_text().splitlines()
        if "=" in line
    )
    assert values["User"] == "edgeward-vpn"
    assert set(values["AmbientCapabilities"].split()) == set(values["CapabilityBoundingSet"].split()) == KEPT
    assert values["NetworkNamespacePath"] == "/run/netns/%i"


class Traced(Site):
    """A site whose programs have their system calls written down."""

    before: Sequence[str] = ()

    def within(self, *argv: str | Path) -> list[str]:
        inside = super().within(*argv)
        starts = len(inside) - len(argv)
        return [*inside[:starts], *self.before, *inside[starts:]]


def _traced(site: Site, trace: Path, needs: Callable[[str], str]) -> Traced:
    made = Traced(site.pid, 1, site.place)
    made.before = units.held(sys.executable, trace, needs)
    return made


async def _exercised(driver: Driver) -> None:
    one = connection(peer_address="198.51.1.77")
    await driver.load(one, None, initiate=True)
    assert await driver.states()
    await driver.unload(one.id)
    await driver.close()


@needs_root
async def test_every_system_call_of_pluto_is_one_that_its_unit_allows(
    state_dir: Path, needs: Callable[[str], str]
) -> None:
    trace = state_dir / "trace"
    with wide_area(state_dir / "wan") as wan:
        site = _traced(wan.site(1), trace, needs)
        with pluto(site, state_dir / "pluto") as daemon:
            await _exercised(await libreswan_driver.opened(daemon.place))
            daemon.whack("--shutdown")
    _judged(trace, PLUTO)


@needs_root
@pytest.mark.skipif(not has_charon(), reason="no charon-systemd here")
async def test_every_system_call_of_charon_is_one_that_its_unit_allows(
    state_dir: Path, needs: Callable[[str], str]
) -> None:
    trace = state_dir / "trace"
    with wide_area(state_dir / "wan") as wan:
        site = _traced(wan.site(1), trace, needs)
        with site.charon(PLUGINS.replace("kernel-libipsec ", "")) as daemon:
            await _exercised(await strongswan_driver.opened(daemon.socket))
    _judged(trace, CHARON)


def _judged(trace: Path, name: str) -> None:
    used = units.used(trace)
    assert {"execve", "bind", "sendto"} <= used
    left_out = units.REFUSED_AND_NOT_MISSED | OF_ROOT
    assert used - units.allowed(units.UNITS / f"{name}.service") - left_out == set()
