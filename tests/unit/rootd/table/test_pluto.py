"""What stands ready for a pluto."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeward.rootd.table import pluto


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)  # and back at the end
    before = os.umask(0o077)
    (tmp_path / "own").mkdir()
    yield tmp_path
    os.umask(before)


def own(place: Path) -> None:
    within = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        pluto._own(within)
    finally:
        os.close(within)


def test_a_database_that_came_half_is_made_anew(place: Path, monkeypatch: pytest.MonkeyPatch, needs) -> None:
    certutil = needs("certutil")
    killed = place / "killed"
    killed.write_text('#!/bin/sh\nplace=${3#sql:}\n: >"$place/cert9.db"\nexit 137\n')
    killed.chmod(0o755)
    monkeypatch.setattr(pluto, "_CERTUTIL", str(killed))
    with pytest.raises(subprocess.CalledProcessError):
        own(place)

    monkeypatch.setattr(pluto, "_CERTUTIL", certutil)
    own(place)

    assert {each.name for each in (place / "own").iterdir()} == {"nss", "pluto.log"}
    listed = [certutil, "-L", "-d", f"sql:{place}/own/nss"]
    subprocess.run(listed, check=True, capture_output=True, timeout=30)
    assert (place / "own" / "nss" / "key4.db").stat().st_mode & 0o777 == 0o660
