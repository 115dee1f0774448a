"""How an Envoy is started: also where the disk takes nothing any more."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeward.launcher.bootstrap import Bounds
from edgeward.launcher.config import Config
from edgeward.launcher.generation import Generation
from edgeward.launcher.lineage import Lineage
from edgeward.launcher.start import Starter


@contextmanager
def full_disk() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def started(directory: Path, number: int, before: Generation | None = None) -> Generation:
    config = Config(directory, Path("/bin/true"), "n1", 1, 1.0, 1.0, Bounds(100, 1 << 30))
    made = Starter(directory).start(config, number, Lineage(directory, None), before)
    await made.ended
    return made


async def test_an_envoy_that_died_is_started_anew_though_the_disk_is_full(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(OSError):
        await started(tmp_path, 1)
    first = await started(tmp_path, 1)

    with full_disk():
        assert (await started(tmp_path, 2)).number == 2
        with pytest.raises(OSError):  # one that takes over has to be told from the one before
            await started(tmp_path, 3, first)
    held = json.loads((tmp_path / "bootstrap.json").read_text())
    assert held["node"]["metadata"] == {"generation": "1"}
