"""On a kernel with ESP, whichever this host has: what needs one, under user-mode Linux."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests import libreswan
from tests.integration.vpn_rig import needs_root

_ROOT = Path(__file__).resolve().parents[2]
_RUN = _ROOT / "tests" / "uml" / "run"

pytestmark = [needs_root, pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(autouse=True)
def kernel() -> None:
    if not (_ROOT / ".tools" / "uml").exists():
        pytest.skip("user-mode Linux is not there; .ci/set-up tools, see apt-packages.txt")
    libreswan.prefix()


def passed(*words: str, seconds: float) -> str:
    """Run some tests there; gives what pytest says, raises AssertionError where one fails or is left out."""
    pytest_ = f"{sys.executable} -m pytest -p no:cacheprovider -q -rs --basetemp=/tmp/t"
    command = f"{pytest_} {shlex.join(words)}"
    done = subprocess.run([_RUN, command], capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " skipped" not in done.stdout, done.stdout[-2000:]
    return done.stdout


def test_libreswan_does_what_holds_of_every_driver() -> None:
    passed("tests/integration/test_vpn_drivers.py", "-k", "libreswan", seconds=900)


def test_libreswan_and_strongswan_carry_traffic_both_ways() -> None:
    passed("tests/integration/test_libreswan_interop.py", seconds=900)


def test_strongswan_does_what_holds_of_every_driver_and_what_needs_the_kernel() -> None:
    passed("tests/integration/test_vpn_drivers.py", "-k", "strongswan", seconds=900)
    passed("tests/integration/test_vpn_strongswan.py", seconds=900)


def test_a_gateway_goes_over_to_the_other_daemon_while_its_keys_carry_on() -> None:
    passed(
        "tests/integration/test_tunnel_migration.py", "-k", "goes_over or goes_back or goes_on", seconds=900
    )
    passed("tests/integration/test_migrate_live.py", seconds=900)


def test_the_kernel_carries_every_algorithm() -> None:
    passed("tests/integration/test_vpn_algorithms.py", seconds=900)
