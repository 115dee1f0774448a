"""`edgeward demo --once`, as a newcomer runs it."""

from __future__ import annotations

import glob
import shutil
import signal
import sys
from collections.abc import Callable

import pytest

from tests.integration.processes import Running, until
from tests.integration.rootd_rig import IS_ROOT, readable_python
from tests.integration.vpn_rig import has_charon

_DEMO = [sys.executable, "-P", "-m", "edgeward.cli", "demo"]


def test_every_step_succeeds_and_nothing_is_left(running: Running) -> None:
    before = set(glob.glob("/tmp/edgeward-demo-*"))
    with running([*_DEMO, "--once"]) as process:
        assert process.wait(110) == 0
        said = process.output()

    assert "✗" not in said
    assert said.count("made at the handshake") == 4
    assert said.count("handshake refused") == 2
    assert ("ordered by ACME" in said) == (shutil.which("pebble") is not None)
    assert said.count("Left out: ") + ("A root action" in said) == 1, "what is not shown is said"
    assert set(glob.glob("/tmp/edgeward-demo-*")) <= before


@pytest.mark.slow
@pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces")
@pytest.mark.skipif(not has_charon(), reason="no charon-systemd here")
@pytest.mark.timeout(300)
def test_as_root_it_shows_low_ports_tunnels_and_a_root_action(
    running: Running, needs: Callable[[str], str]
) -> None:
    """On a host of its own, by a Python that everybody may read."""
    before = set(glob.glob("/tmp/edgeward-demo-*"))
    with readable_python(needs) as python:
        inside = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        with running([*inside, python, "-P", "-m", "edgeward.cli", "demo", "--once"]) as process:
            assert process.wait(240) == 0, process.output()
            said = process.output()

    assert "✗" not in said
    assert "Left out" not in said
    for words in (
        ":80 and :443",
        "rootd ran `id -un`: root",
        "berlin: asked by",
        "paris: asked by",
        "503 at once",
    ):
        assert words in said
    assert set(glob.glob("/tmp/edgeward-demo-*")) <= before


def test_interrupted_it_cleans_up(running: Running) -> None:
    with running(_DEMO) as process:
        until(lambda: "edgeward up …" in process.output(), 20.0, "the first step")
        process.send(signal.SIGINT)

        assert process.wait(60) == 130
