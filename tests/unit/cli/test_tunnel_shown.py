"""How one tunnel does, as people read it."""

from __future__ import annotations

import pytest

from edgeward.cli.vpn.telling import show_one

NOW = 1_800_000_000.0


def shown(capsys, local, **of_gateway):
    gateway = {"name": "default/office", "id": "0123456789ab", "driver": "libreswan", "phase": "running"}
    one = {
        "id": "i", "name": "office", "project": "default", "phase": "active", "since": NOW, "reason": "", "remedy": "",
        "node": "n1", "node_connected": True, "heard": NOW, "gateway": {**gateway, "since": NOW, "reason": "", **of_gateway},
        "peer": {"address": "203.0.113.9", "id": "@office"}, "local": local, "algorithms": "", "children": [],
        "networks": {"local": ["10.1.0.0/24"], "peer": ["10.2.0.0/24"]}, "reauthenticates_at": None,
    }  # fmt: skip
    show_one(one, NOW)
    lines = (line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    return {line[0]: line[1].strip() for line in lines if len(line) == 2}


@pytest.mark.parametrize(
    ("local", "here"),
    [
        ({"address": "192.0.2.7", "id": "@edge"}, "192.0.2.7 as @edge"),
        ({"address": "0.0.0.0", "id": "@edge"}, "the node's own address as @edge"),
    ],
)
def test_the_address_on_this_side_is_named_where_its_node_said_it(capsys, local, here):
    assert shown(capsys, local)["here"] == here


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({}, "libreswan, running"),
        ({"carried_by": None}, "libreswan, running"),
        ({"carried_by": "libreswan"}, "libreswan, running"),
        ({"carried_by": "strongswan"}, "strongswan instead of libreswan, running"),
    ],
)
def test_the_driver_is_named_that_has_it(capsys, said, named):
    assert named in shown(capsys, {"address": "192.0.2.7", "id": "@edge"}, **said)["gateway"]
