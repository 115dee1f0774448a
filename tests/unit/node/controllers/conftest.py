from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeward.node.controllers import known
from tests.unit.node.controllers.far import B, C, Far, Here


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    made = Far()
    monkeypatch.setattr(known.HttpClient, "over_tls", made.client)
    yield made


@pytest.fixture
async def here(tmp_path: Path, far: Far) -> Here:
    made = Here(tmp_path, B, C)
    await made.controllers.refresh()
    return made
