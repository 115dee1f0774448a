"""How a connection does is said of every declared one, with why it is not up and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeward.vpn.heard import Daemon, Held
from edgeward.vpn.status import ENDED, Site, carrying, seen, sites, status
from tests.unit.vpn.tunnels import GATEWAY, NOW, connection, gateway, state

SITE = next(sites([gateway()]))
RUNNING = Daemon(GATEWAY, "n1", "running", NOW, "", NOW)


def held(phase="active", **more):
    return Held(state(phase=phase, **more), GATEWAY, "n1", NOW + 5)


def there(_node):
    return True


def away(_node):
    return False


def test_what_its_node_says_is_what_is_said_while_that_node_is_there():
    found = status(SITE, held(algorithms="AES_GCM"), [RUNNING], there)

    assert found.up and (found.phase, found.since, found.node, found.heard) == ("active", NOW, "n1", NOW + 5)
    assert (found.reason, found.algorithms, found.daemon) == ("", "AES_GCM", RUNNING)


@pytest.mark.parametrize(
    ("said", "daemons", "connected", "phase", "reason", "remedy"),
    [
        (None, [], there, "waiting", "none has said that it carries it", "edgeward status"),
        (None, [RUNNING], away, "waiting", "waits for a node", "edgeward status"),
        (None, [RUNNING], there, "waiting", "is running on node n1", "ask again"),
        (
            None,
            [Daemon(GATEWAY, "n1", "down", NOW, "charon is not installed", NOW)],
            there,
            "down",
            "down on node n1: charon is not installed",
            "node n1 tries again",
        ),
        (
            held("down"),
            [Daemon(GATEWAY, "n1", "down", NOW, "it was killed", NOW)],
            there,
            "down",
            "down on node n1: it was killed",
            "node n1 tries again",
        ),
        (
            held(),
            [Daemon(GATEWAY, "n1", "down", NOW, "it does not say how it does", NOW)],
            there,
            "down",
            "down on node n1: it does not say how it does",
            "tries again",
        ),
        (
            held(),
            [Daemon(GATEWAY, "n1", "down", NOW, "charon does not answer within 10 s", NOW)],
            there,
            "down",
            "charon does not answer within 10 s",
            f"as root on node n1: kill -9 $(cut -d' ' -f1 /run/edgeward-rootd/vpn/vpn-{GATEWAY}/daemon)",
        ),
        (
            None,
            [Daemon(GATEWAY, "n1", "starting", NOW, "this host has no bridge br-ex", NOW)],
            there,
            "down",
            "is starting on node n1: this host has no bridge br-ex",
            "see to what it says",
        ),
        (
            held("down", reason="it ended"),
            [Daemon(GATEWAY, "n1", "running", NOW, "the guard cannot be made", NOW)],
            there,
            "down",
            "not as it should be on node n1: the guard cannot be made",
            "tries again",
        ),
        (held(), [RUNNING], away, "active", "n1 is not connected; the tunnel was active", "node n1 runs"),
        (
            held("error", reason="pre-shared keys differ", remedy="write the same secret on both sides"),
            [RUNNING],
            there,
            "error",
            "pre-shared keys differ",
            "the same secret",
        ),
    ],
)
def test_why_it_is_not_up_is_said_with_what_to_do(said, daemons, connected, phase, reason, remedy):
    found = status(SITE, said, daemons, connected)

    assert not found.up
    assert found.phase == phase and reason in found.reason and remedy in found.remedy


def test_what_is_disabled_is_said_to_be_whatever_was_heard():
    off = Site(gateway(), connection(enabled=False))

    assert status(off, held(), [RUNNING], there).phase == "disabled"


def test_of_several_daemons_the_one_that_carries_is_told_of_before_one_that_stands_by():
    standby = Daemon(GATEWAY, "n0", "standby", NOW, "", NOW)

    assert status(SITE, None, [standby, RUNNING], there).node == "n1"


@pytest.mark.parametrize(
    ("initiator", "reason"), [(True, ENDED), (False, "its peer is to begin it, and has not")]
)
def test_one_that_is_down_for_no_reason_of_its_daemon_has_one_and_a_remedy(initiator, reason):
    site = Site(gateway(), connection(initiator=initiator))
    found = status(site, held("down"), [RUNNING], there)

    assert (found.reason, found.remedy.split(", ")[0]) == (reason, f"edgeward vpn initiate {site.name}")
    now = seen(site, found, state(phase="down"), NOW + 9)
    assert (now.reason, now.remedy) == (found.reason, found.remedy)
    assert seen(site, found, state(), NOW + 9).reason == ""


@pytest.mark.parametrize(
    "what", ["all stays as it is: there is no Libreswan", "all goes back to strongswan: late"]
)
def test_one_that_is_up_by_another_daemon_than_declared_says_so(what):
    site = Site(gateway(driver="libreswan"), connection())
    daemon = replace(RUNNING, reason=f"libreswan cannot take over, {what}")
    found = status(site, held(), [daemon], there)

    assert found.up and daemon.reason in found.reason and "--driver strongswan" in found.remedy
    assert seen(site, found, state(), NOW + 9).reason == found.reason
    assert carrying(site.gateway, daemon) == "strongswan"
    assert carrying(site.gateway, RUNNING) == "libreswan"


def test_whose_daemon_has_it_is_what_its_node_says_or_where_that_is_of_the_version_before_what_follows():
    site = Site(gateway(driver="libreswan"), connection())
    declined = replace(RUNNING, reason="libreswan cannot take over, all goes back to strongswan: late")

    assert status(site, held(), [RUNNING], there).driver == "libreswan"
    assert status(site, held(), [declined], there).driver == "strongswan"
    assert status(site, held(), [], there).driver == ""
    said = status(site, held(driver="strongswan"), [replace(RUNNING, reason="other words")], there)
    assert said.driver == "strongswan" and "--driver strongswan" in said.remedy
    assert status(site, held(driver="libreswan"), [declined], there).driver == "libreswan"


def test_which_address_its_node_uses_is_known_until_it_says_another():
    found = status(SITE, held(local_address="192.0.2.7"), [RUNNING], there)

    assert found.local_address == "192.0.2.7"
    assert seen(SITE, found, state(), NOW + 9).local_address == "192.0.2.7"
    assert seen(SITE, found, state(local_address="192.0.2.8"), NOW + 9).local_address == "192.0.2.8"
    assert status(SITE, held(), [RUNNING], there).local_address == ""
