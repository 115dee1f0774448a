"""What was acknowledged is there after the power was cut in the middle of issuing."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from edgeward.certificates import store
from edgeward.controller import starting
from edgeward.database import schema
from edgeward.database.engine import open_database
from edgeward.errors import EdgewardError
from edgeward.wrapping import Sources

ROOT = Path(__file__).parents[2]


@dataclass
class Machine:
    """Issues on a disk whose power can be cut."""

    disk: Path
    synchronous: str = "FULL"
    acknowledged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "tests.faults.issuing_child", str(self.disk)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def issue_and_cut(self, seconds: float, seed: int) -> None:
        """Issue for so long after the start, or after the first acknowledgement, then cut the power."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{self.synchronous}\n".encode())
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline().split()[1])
        said = ""
        while seed % 2 == 0 and not said:
            said = self._note()
        assert said != "ended", "it ended by itself"
        time.sleep(seconds)
        with suppress(FileExistsError):
            (self.disk / ".cut").mkdir()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        while self._note() != "ended":
            pass
        with suppress(FileExistsError):
            (self.disk / f".on-{seed}").mkdir()

    def _note(self) -> str:
        """Take the next line; gives a name that was acknowledged, ``ended``, or nothing where it is of the log."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode().strip()
        assert line, "the child's parent ended"
        if line == "ended":
            return line
        if not line.startswith("have "):
            return ""
        self.acknowledged.append(line.removeprefix("have "))
        return self.acknowledged[-1]

    def lost(self) -> list[str]:
        """Give what was acknowledged and is not there, or does not open."""
        return asyncio.run(_missing(self.disk, self.acknowledged))

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


async def _missing(directory: Path, names: list[str]) -> list[str]:
    database = open_database(f"sqlite:///{directory}/edgeward.db")
    try:
        await starting.open_when_there(database)
        seal, _ = await starting.seal_of(database, Sources(directory / "seal.key"), time.time())
        async with database.reading() as connection:
            check = (await connection.exec_driver_sql("PRAGMA integrity_check")).scalar_one()
            assert check == "ok"
            await connection.execute(select(schema.authorities))
            found = await store.find_all(connection, seal, names, time.time())
    finally:
        await database.close()
    return [name for name in names if name not in found or found[name].certificate.name != name]


@pytest.fixture
def disk(state_dir: Path, needs) -> Iterator[Path]:
    """A directory on a disk that forgets what was not synced."""
    unmount = needs("fusermount3")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse is not there for this user")
    place = state_dir / "disk"
    place.mkdir()
    served = subprocess.Popen([sys.executable, "-m", "tests.faults.power", str(place)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not os.path.ismount(place):
        assert served.poll() is None and time.monotonic() < deadline, "the disk cannot be mounted"
        time.sleep(0.02)
    yield place
    subprocess.run([unmount, "-u", "-z", str(place)], check=False)
    with suppress(subprocess.TimeoutExpired):
        served.wait(5)
    served.kill()
    served.wait()
    shutil.rmtree(place, ignore_errors=True)


def cuts(disk: Path, count: int, synchronous: str = "FULL") -> tuple[Machine, list[str]]:
    chance, machine, lost = random.Random(count), Machine(disk, synchronous), []
    try:
        for seed in range(count):
            machine.issue_and_cut(chance.uniform(0.1, 0.9), seed)
            try:
                lost += machine.lost()
            except (EdgewardError, AssertionError):
                if synchronous == "FULL":
                    raise
                lost.append("everything")
            if lost:
                break
    finally:
        machine.end()
    return machine, lost


def test_power_cuts_in_the_middle_of_issuing_lose_nothing_acknowledged(disk: Path) -> None:
    machine, lost = cuts(disk, 5)

    assert len(machine.acknowledged) >= 3
    assert lost == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_power_cuts_lose_nothing_acknowledged(disk: Path) -> None:
    machine, lost = cuts(disk, 200)

    assert len(machine.acknowledged) >= 100
    assert lost == []


def test_without_syncing_a_power_cut_does_lose_what_was_acknowledged(disk: Path) -> None:
    _, lost = cuts(disk, 30, synchronous="OFF")

    assert lost
