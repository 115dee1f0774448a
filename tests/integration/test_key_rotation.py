"""`edgeward keys rotate` on a real controller, killed in the middle of it."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edgeward.sealing import Seal
from tests.integration.controller_setup import Controller
from tests.integration.processes import until

COUNT = 250


def command(here: Controller, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "edgeward.cli", *words, "--state-dir", str(here.state_dir)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def prefixes(state_dir: Path) -> set[bytes]:
    with sqlite3.connect(f"file:{state_dir}/edgeward.db?mode=ro", uri=True) as database:
        return {
            row[0] for row in database.execute("SELECT DISTINCT substr(sealed_key, 1, 9) FROM certificates")
        }


@pytest.mark.parametrize("killed", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_rotation_is_carried_to_its_end_whatever_is_killed(state_dir: Path, killed: bool) -> None:
    here = Controller(state_dir / "state")
    names = "\n".join(f"  - {{name: n{n}.example}}" for n in range(COUNT))
    here.declare(f"version: 1\ndomains:\n{names}\n")
    with here.start() as process, here.client() as admin:
        until(lambda: admin.get("/v1/status").json()["certificates"]["total"] == COUNT, 60, "certificates")
        before = prefixes(here.state_dir)
        assert len(before) == 1
        if killed:
            key = admin.post("/v1/keys/rotate").raise_for_status().json()["id"]
            until(lambda: prefixes(here.state_dir) != before, 20, "the first records")
            process.send(signal.SIGKILL)
            process.wait()
        else:
            said = command(here, "keys", "rotate", "--wait")
            assert said.splitlines()[-1] == "every record is sealed with it"
            key = said.split()[3].rstrip(";")

    with here.start(), here.client() as admin:
        until(lambda: admin.get("/v1/keys").json()["older_records"] == 0, 30, "all records")
        shown = command(here, "keys", "show")
        assert f"{key}  seals" in shown
        assert "every record is sealed with the newest key" in shown
        assert prefixes(here.state_dir) == {b"\x01" + bytes.fromhex(key)}
    direct = Seal((here.state_dir / "seal.key").read_bytes())
    assert before.isdisjoint({direct.prefix}), "the wrapping key seals nothing"
