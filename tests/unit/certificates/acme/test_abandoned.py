"""Threads whose work may never end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from edgeward.certificates.acme.abandoned import Threads
from tests.patience import PATIENCE

PROGRAM = """
import asyncio, time
from edgeward.certificates.acme.abandoned import Threads

async def asked():
    async with asyncio.timeout(0.1):
        await Threads(1, "hangs").run(lambda: time.sleep(3600))

try:
    asyncio.run(asked())
except TimeoutError:
    print("given up")
"""


async def test_what_the_work_gives_and_raises_comes_back():
    threads = Threads(2, "works")

    assert await threads.run(lambda: 6 * 7) == 42
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)


async def test_no_more_than_so_many_are_at_work():
    threads, at_work, most, go = Threads(2, "works"), set(), [], threading.Event()

    def work() -> None:
        at_work.add(threading.current_thread())
        most.append(len(at_work))
        go.wait(30)
        at_work.discard(threading.current_thread())

    running = [asyncio.create_task(threads.run(work)) for _ in range(5)]
    async with asyncio.timeout(10 * PATIENCE):
        while len(most) < 2:
            await asyncio.sleep(0.01)
        go.set()
        await asyncio.gather(*running)
    assert len(most) == 5 and max(most) <= 2


def test_a_program_ends_though_some_work_hangs():
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=15 * PATIENCE, check=True
    )
    assert ended.stdout == "given up\n"
