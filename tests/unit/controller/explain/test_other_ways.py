"""The ways of nodes, actions and tunnels end at the first broken step, with its cause and remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeward.controller.explain import action, node, tunnel
from edgeward.controller.explain.action import ActionFacts
from edgeward.controller.explain.facts import NodeView
from edgeward.controller.explain.node import NodeFacts
from edgeward.controller.explain.steps import verdict, walked
from edgeward.declaration.feed import EnvoyState, Rejection, Report
from edgeward.vpn.driver import Keyed
from edgeward.vpn.heard import Daemon, Held
from edgeward.vpn.status import Site, sites, status
from tests.unit.vpn.tunnels import GATEWAY, NOW, connection, gateway, state

REPORT = Report(version="1", revision=9, received=9, envoy=EnvoyState(state="serving"))
VIEW = NodeView("edge1", True, REPORT, seen=NOW)
NODE = NodeFacts(
    "edge1", NOW, VIEW, NOW - 99, 9, rootd=None, daemons=(Daemon(GATEWAY, "edge1", "running", NOW, "", NOW),)
)
ACTION = ActionFacts(
    "backup",
    None,
    VIEW,
    ("edge1",),
    {"actions": [{"name": "backup", "values": {"day": {}}}]},
    "admin",
    NOW - 5,
)


def reported(**changes):
    return replace(VIEW, report=REPORT.model_copy(update=changes))


def said(way):
    found = verdict("it", "node", walked(way))
    assert all(step["state"] != "broken" for step in found["steps"][:-1])
    return found


def test_a_node_that_has_not_heard_of_the_newest_revision_is_told_to_be_behind():
    late = reported(revision=7, received=8)
    found = {step["step"]: step for step in said(node.way(replace(NODE, node=late)))["steps"]}

    assert found["configuration"]["state"] == "unknown"
    assert found["configuration"]["detail"] == "revision 7 in force, of 9"


def test_a_node_that_is_well_is_told_whole():
    found = said(node.way(NODE))

    assert found["well"] and found["reason"] is None
    assert [step["step"] for step in found["steps"]] == [
        "joined",
        "connected",
        "envoy",
        "configuration",
        "certificates",
        "backends",
        "rootd",
        "daemon",
    ]


@pytest.mark.parametrize(
    ("change", "step", "reason", "remedy"),
    [
        ({"node": None}, "joined", "no node named 'edge1' has joined", "--join"),
        ({"token": False}, "token", "is revoked", "join anew"),
        ({"node": replace(VIEW, connected=False)}, "connected", "is not connected", "its log"),
        ({"node": replace(VIEW, report=None)}, "report", "has not reported", "wait"),
        ({"node": reported(envoy=EnvoyState(state="down"))}, "envoy", "Envoy is down", "Envoy's log"),
        (
            {"node": reported(rejections=(Rejection(object="routes/default/r", message="bad", revision=9),))},
            "configuration",
            "refused routes/default/r: bad",
            "change routes/default/r",
        ),
        (
            {"node": reported(backends={"services/default/s": "it does not resolve"})},
            "backends",
            "services/default/s cannot be reached",
            "resolve on that node",
        ),
        (
            {"rootd": "there is no rootd", "wants_rootd": True},
            "rootd",
            "there is no rootd",
            "start edgeward rootd",
        ),
        (
            {"daemons": (Daemon(GATEWAY, "edge1", "down", NOW, "charon was killed", NOW),)},
            "daemon",
            "charon was killed",
            "starts it again",
        ),
    ],
)
def test_what_a_node_lacks_is_named_with_its_remedy(change, step, reason, remedy):
    found = said(node.way(replace(NODE, **change)))

    assert not found["well"] and found["steps"][-1]["step"] == step
    assert reason in found["reason"] and remedy in found["remedy"]


def test_a_node_without_rootd_is_well_where_nothing_needs_root():
    assert said(node.way(replace(NODE, rootd="there is no rootd", daemons=())))["well"]


def test_an_action_that_could_be_run_is_told_with_its_values():
    found = said(action.way(ACTION))

    assert found["well"] and [step["step"] for step in found["steps"]] == ["node", "rootd", "action"]
    assert "values: day" in found["steps"][-1]["detail"] and found["steps"][-1]["since"] == NOW - 5


@pytest.mark.parametrize(
    ("change", "step", "reason", "remedy"),
    [
        ({"node": None, "nodes": ()}, "node", "no node has joined", "edgeward up"),
        ({"node": None, "asked_node": "x"}, "node", "no node named 'x'", "--join"),
        ({"node": None, "nodes": ("a", "b")}, "node", "several nodes", "--node NAME"),
        ({"node": replace(VIEW, connected=False)}, "node", "not connected", "edgeward action run"),
        ({"came": None}, "rootd", "did not answer", "ask again"),
        (
            {"came": {"outcome": "unanswered", "reason": "there is no rootd on this node"}},
            "rootd",
            "there is no rootd on this node",
            "start edgeward rootd",
        ),
        ({"came": {"actions": [{"name": "other"}]}}, "action", "it has: other", "allow your role"),
    ],
)
def test_what_is_in_the_way_of_an_action_is_named_with_its_remedy(change, step, reason, remedy):
    found = said(action.way(replace(ACTION, **change)))

    assert not found["well"] and found["steps"][-1]["step"] == step
    assert reason in found["reason"] and remedy in found["remedy"]


SITE = next(sites([gateway()]))
RUNNING = Daemon(GATEWAY, "n1", "running", NOW, "", NOW)
KEYED = Keyed(local=("10.1.0.0/24",), peer=("10.2.0.0/24",), algorithms="AES_GCM_16-256", bytes_in=1200)


def tunnel_way(held, daemons=(RUNNING,), site=SITE, connected=True):
    how = status(site, held, daemons, lambda _: connected)
    return said(tunnel.way(site, how, daemons, NOW - 7))


def test_a_tunnel_that_is_up_is_told_down_to_its_keys():
    held = Held(state(children=(KEYED.model_dump(),), algorithms="AES_CBC"), GATEWAY, "n1", NOW)
    found = tunnel_way(held)

    assert found["well"]
    assert [step["step"] for step in found["steps"]] == ["tunnel", "node", "daemon", "peer", "keys"]
    assert found["steps"][-1]["detail"] == "AES_GCM_16-256: 1,200 bytes came, 0 went"


@pytest.mark.parametrize(
    ("held", "daemons", "connected", "step", "reason"),
    [
        (None, (), True, "node", "waits for a node"),
        (Held(state(), GATEWAY, "n1", NOW), (RUNNING,), False, "node", "n1 is not connected"),
        (None, (replace(RUNNING, phase="starting"),), True, "daemon", "is starting"),
        (
            Held(state(phase="down"), GATEWAY, "n1", NOW),
            (replace(RUNNING, phase="down", reason="killed"),),
            True,
            "daemon",
            "killed",
        ),
        (
            Held(state(phase="error", reason="pre-shared keys differ", remedy="r"), GATEWAY, "n1", NOW),
            (RUNNING,),
            True,
            "peer",
            "pre-shared keys differ",
        ),
        (Held(state(phase="connecting"), GATEWAY, "n1", NOW), (RUNNING,), True, "peer", "is connecting"),
    ],
)
def test_what_keeps_a_tunnel_down_is_named(held, daemons, connected, step, reason):
    found = tunnel_way(held, daemons, connected=connected)

    assert not found["well"] and found["steps"][-1]["step"] == step
    assert reason in found["reason"] and found["remedy"]


def test_the_daemon_that_runs_is_named_and_why_it_is_not_the_declared_one():
    declared = Site(gateway(driver="libreswan"), connection())
    astray = replace(RUNNING, reason="libreswan cannot take over, all stays as it is: it is not there")
    found = tunnel_way(Held(state(), GATEWAY, "n1", NOW), (astray,), declared)

    assert found["well"]
    [detail] = [step["detail"] for step in found["steps"] if step["step"] == "daemon"]
    assert detail.startswith("strongswan of ") and detail.endswith("stays as it is: it is not there")


def test_one_that_was_ended_is_said_to_be():
    found = tunnel_way(Held(state(phase="down"), GATEWAY, "n1", NOW))

    assert found["reason"].endswith("is down: it was ended here, and nothing began it since")
    assert "edgeward vpn initiate" in found["remedy"]


def test_a_tunnel_that_is_switched_off_is_said_to_be():
    off = Site(gateway(), connection(enabled=False))

    assert "enabled: true" in tunnel_way(None, site=off)["remedy"]
