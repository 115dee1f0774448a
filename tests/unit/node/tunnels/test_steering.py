"""What people ask to be done with a tunnel is done by its daemon, and what came of it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeward.declaration.feed import Steer
from edgeward.errors import Unavailable
from edgeward.node.tunnels.native import commands
from edgeward.node.tunnels.steering import Steering
from tests.unit.vpn.tunnels import GATEWAY, connection, state

OFFICE = connection().id


class Daemon:
    """As much of a driver as is asked."""

    def __init__(self, reason=""):
        self.phase, self.level, self.reason = "down", 1, reason

    async def initiate(self, name):
        if self.reason:
            raise Unavailable(self.reason)
        self.phase = "active"

    async def terminate(self, name):
        self.phase = "down"

    async def verbosity(self, level):
        self.level = level

    async def lines(self, name, last):
        return [(1.0, "one"), (2.0, name)][-last:]

    async def states(self):
        if self.phase == "hangs":
            raise Unavailable("charon does not answer within 10 s")
        return {OFFICE: state(phase=self.phase)}


async def asked(daemon, what, **more):
    answers = []

    async def send(answer):
        answers.append(answer)

    steer = Steer(
        id="7", gateway=GATEWAY, namespace="vpn-1", driver="strongswan", connection=OFFICE, what=what, **more
    )
    await Steering({GATEWAY: daemon}.get, Path("/run/edgeward-rootd")).answer(steer, send)
    (answer,) = answers
    assert answer.id == "7"
    return answer.run


async def test_it_comes_up_ends_and_is_looked_at():
    daemon = Daemon()

    assert (await asked(daemon, "initiate"))["state"]["phase"] == "active"
    assert (await asked(daemon, "look"))["state"]["phase"] == "active"
    assert (await asked(daemon, "terminate"))["state"]["phase"] == "down"


async def test_what_its_daemon_wrote_is_given_even_while_that_hangs():
    daemon = Daemon()
    daemon.phase = "hangs"

    assert (await asked(daemon, "look", lines=1)) == {"outcome": "done", "lines": [(2.0, OFFICE)]}
    assert (await asked(daemon, "look"))["outcome"] == "failed"


async def test_why_it_does_not_come_up_is_said():
    came = await asked(Daemon("pre-shared keys differ"), "initiate")

    assert came == {"outcome": "failed", "reason": "pre-shared keys differ"}


async def test_a_gateway_that_does_not_run_here_is_said_to_be_missing():
    assert "does not run on this node" in (await asked(None, "initiate"))["reason"]


async def test_a_daemon_says_more_and_the_commands_that_look_inside_it_are_given():
    daemon = Daemon()
    came = await asked(daemon, "verbosity", level=3)

    assert daemon.level == 3
    assert any("/run/edgeward-rootd/vpn/vpn-1/charon.vici" in one for one in came["commands"])


@pytest.mark.parametrize(("driver", "word"), [("strongswan", "swanctl"), ("libreswan", "whack")])
def test_each_daemon_is_looked_into_with_its_own_commands(driver, word):
    found = commands(driver, Path("/run/x"), "vpn-1")

    assert any(word in one for one in found) and any("xfrm" in one for one in found)
