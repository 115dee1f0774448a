"""Fixtures for tests with real processes."""

from __future__ import annotations

import pytest

from tests.integration import processes


@pytest.fixture
def running() -> processes.Running:
    """``with running([...], output=state_dir / "x.log") as process:``; see processes.running."""
    return processes.running
