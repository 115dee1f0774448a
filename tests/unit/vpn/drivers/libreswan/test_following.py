"""What follows a daemon, and what it leaves open where it cannot."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from edgeward.errors import Unavailable
from edgeward.vpn.drivers.libreswan.driver import opened
from edgeward.vpn.drivers.libreswan.following import Log


def descriptors() -> set[tuple[str, str]]:
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            found.add((each.name, str(each.readlink())))
        except FileNotFoundError:
            continue
    return found


async def test_a_pluto_whose_log_cannot_be_read_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "pluto.pid").write_text(str(os.getpid()))
    before = descriptors()

    for _ in range(3):
        with pytest.raises(Unavailable, match=r"pluto.log cannot be read"):
            await opened(tmp_path)

    assert not {what for _, what in descriptors() - before if "pidfd" in what}


async def test_a_log_that_cannot_be_watched_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "pluto.log"
    log.touch()
    monkeypatch.setattr("edgeward.vpn.drivers.libreswan.following._IN_MODIFY", 0)  # the kernel refuses that
    before = descriptors()

    for _ in range(3):
        with pytest.raises(Unavailable, match="cannot be watched"):
            Log(log, lambda line: None)

    assert not {what for _, what in descriptors() - before if "inotify" in what or what == str(log)}


async def test_lines_are_read_as_they_are_written_and_a_log_that_goes_is_no_trouble(tmp_path: Path) -> None:
    log, read, troubles = tmp_path / "pluto.log", list[str](), list[object]()
    log.write_text("before\n")
    asyncio.get_running_loop().set_exception_handler(lambda _, what: troubles.append(what))
    following = Log(log, read.append)
    try:
        with log.open("a") as file:
            file.write("one\ntwo\n")
        log.unlink()
        async with asyncio.timeout(30):
            while len(read) < 2:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # what the kernel says of a file that is gone
    finally:
        following.close()

    assert (read, troubles) == (["one", "two"], [])
