"""`edgeward demo --once`, as a newcomer runs it."""

from __future__ import annotations

import glob
import signal
import sys

from tests.integration.processes import Running, until

_DEMO = [sys.executable, "-P", "-m", "edgeward.cli", "demo"]


def test_every_step_succeeds_and_nothing_is_left(running: Running) -> None:
    before = set(glob.glob("/tmp/edgeward-demo-*"))
    with running([*_DEMO, "--once"]) as process:
        assert process.wait(110) == 0
        said = process.output()

    assert "✗" not in said
    assert said.count("made at the handshake") == 4
    assert said.count("handshake refused") == 2
    assert set(glob.glob("/tmp/edgeward-demo-*")) <= before


def test_interrupted_it_cleans_up(running: Running) -> None:
    with running(_DEMO) as process:
        until(lambda: "edgeward up …" in process.output(), 20.0, "the first step")
        process.send(signal.SIGINT)

        assert process.wait(60) == 130
