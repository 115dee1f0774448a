"""``edgeward vpn migrate`` against a real controller: no node, so that nothing comes up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_site_commands import SITE, Run, controller, run, written

pytestmark = pytest.mark.usefixtures("run")
__all__ = ["controller", "run"]
SHARED = {"router": "edge", "driver": "strongswan"}
PARIS = SITE | {"name": "paris", "peer": "198.51.100.30", "remote_networks": "192.168.30.0/24"}


def drivers(run: Run) -> dict[str, str]:
    code, out, err = run("export")
    assert code == 0, err
    found, name = {}, ""
    for line in out.splitlines():
        name = line.split("name:")[1].strip() if "name:" in line else name
        if "driver:" in line:
            found[name] = line.split("driver:")[1].strip()
    return found


def test_all_that_share_a_gateway_are_given_to_the_other_driver_at_once(run: Run, tmp_path: Path) -> None:
    file = written(tmp_path, SITE | SHARED, PARIS | SHARED)
    assert run("apply", "-f", file)[0] == 0

    code, out, err = run("vpn", "migrate", "paris", "--driver", "libreswan")

    assert code == 0, err
    assert "default/office-berlin: driver libreswan" in out
    assert "default/paris: driver libreswan" in out
    assert "vpn.yaml" in out
    assert "was not up before" in out
    assert set(drivers(run).values()) == {"libreswan"}
    again = run("vpn", "migrate", "paris", "--driver", "libreswan")
    assert (again[0], "already" in again[1]) == (0, True)
    back = run("vpn", "migrate", "office-berlin", "--driver", "strongswan")
    assert back[0] == 0, back
    assert set(drivers(run).values()) == {"strongswan"}


def test_what_the_other_driver_cannot_do_is_said_and_nothing_changes(run: Run, tmp_path: Path) -> None:
    offer = {"encryption": "aes-256-ccm-16", "integrity": "sha256", "groups": ["group19"]}
    knobs = {"ike": {"proposals": [offer]}, "ipsec": {"proposals": [{"encryption": "aes-256-gcm-16"}]}}
    applied = run("apply", "-f", written(tmp_path, SITE | {"profile": knobs}))
    assert applied[0] == 0, applied

    code, _, err = run("vpn", "migrate", "office-berlin", "--driver", "libreswan")

    assert code != 0
    assert "Libreswan does not know aes-256-ccm-16" in err
    assert "libreswan" not in drivers(run).values()


def test_one_that_is_not_there_is_said(run: Run, tmp_path: Path) -> None:
    code, _, err = run("vpn", "migrate", "nowhere", "--driver", "libreswan")
    assert code == 1
    assert "nowhere" in err
