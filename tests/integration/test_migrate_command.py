"""``edgeward vpn migrate`` against a real controller: no node, so that nothing comes up."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from edgeward.cli.connect import connect
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


@pytest.mark.parametrize("changed_meanwhile", [False, True])
def test_what_was_not_taken_over_is_declared_as_before_unless_somebody_changed_it_meanwhile(
    run: Run, controller: Path, tmp_path: Path, changed_meanwhile: bool
) -> None:
    migrate: Any = importlib.import_module("edgeward.cli.vpn.migrate")
    file = written(tmp_path, SITE | SHARED, PARIS | SHARED)
    assert run("apply", "-f", file)[0] == 0
    before = run("export")[1]
    found = {"project": "default", "name": "paris"}
    why = "default/paris: libreswan cannot take over, all stays as it is: it is not there"
    with connect(None, controller) as client:
        sites = migrate._sharing(client, found)
        source = migrate._source(sites)
        revision = migrate._changed(client, source, sites, "libreswan")
        assert set(drivers(run).values()) == {"libreswan"}
        if changed_meanwhile:
            migrate._changed(client, source, [{**one, "value": {**one["value"], "peer": "198.51.100.77"}}
                                              for one in sites[:1]], "libreswan")  # fmt: skip
        said = migrate._afterwards(client, source, sites, found, migrate.Driver.libreswan, revision, why)

    if changed_meanwhile:
        assert "declared with driver libreswan now" in said and "was not put back" in said
        assert "edgeward vpn migrate paris --project default --driver strongswan" in said
        assert set(drivers(run).values()) == {"libreswan"} and "198.51.100.77" in run("export")[1]
    else:
        assert said == "it is declared as before again"
        assert run("export")[1].endswith(before)  # behind what was said of the changes


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
