from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.launcher.binary import NotTaken, Settling, Stamp, check, hot_restart_version, stamp


def stamped(number: int) -> Stamp:
    return Stamp(1, number, 1, 1)


@given(st.lists(st.sampled_from([None, stamped(1), stamped(2)]), max_size=30))
def test_a_file_has_settled_once_it_was_the_same_often_enough(found: list[Stamp | None]) -> None:
    settling = Settling(looks=3)
    for n, now in enumerate(found):
        same = n >= 3 and len(set(found[n - 3 : n + 1])) == 1
        assert settling.look(now) == (now if same else None)


def test_every_way_to_replace_a_file_shows(tmp_path: Path) -> None:
    path = tmp_path / "envoy"
    assert stamp(path) is None
    path.write_text("one")
    first = stamp(path)
    os.utime(path, ns=(1, 1))
    touched = stamp(path)
    (tmp_path / "other").write_text("two")
    (tmp_path / "other").replace(path)

    assert len({first, touched, stamp(path)}) == 3


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


async def test_the_last_line_of_what_a_binary_says_is_the_reason(tmp_path: Path) -> None:
    broken = program(tmp_path / "envoy", "echo at length; echo 'bad bootstrap' >&2; exit 1")
    with pytest.raises(NotTaken, match="does not take its bootstrap: bad bootstrap"):
        await check([str(broken)], {})
    await check([str(program(tmp_path / "good", "exit 0"))], {})


async def test_what_cannot_be_run_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(NotTaken, match="does not run"):
        await check([str(tmp_path / "missing")], {})
    assert await hot_restart_version(tmp_path / "missing", {}) == ""


async def test_a_version_is_what_the_binary_prints(tmp_path: Path) -> None:
    assert await hot_restart_version(program(tmp_path / "envoy", "echo 11.104"), {}) == "11.104"
