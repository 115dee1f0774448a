from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeward.node.sealed_copy.last_good import LastGood
from edgeward.sealing import Seal

SEAL = Seal(b"k" * 32)


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[LastGood]:
    opened = LastGood(tmp_path / "last-good.db", SEAL)
    yield opened
    opened.close()
