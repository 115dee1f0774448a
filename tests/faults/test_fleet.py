"""Two controllers and three nodes on PostgreSQL, as the example starts them, with everything they may lose."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples/fleet/fleet.py"


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.skipif(
    not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")) and os.environ.get("CI") != "true",
    reason="PostgreSQL is not installed: apt-get install postgresql",
)
def test_nothing_acknowledged_is_lost_and_no_visit_fails_whatever_the_fleet_loses():
    done = subprocess.run([sys.executable, EXAMPLE, "--once"], capture_output=True, text=True, timeout=400)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "✗" not in done.stdout
