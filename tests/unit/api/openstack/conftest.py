"""Both databases, migrated beforehand."""

from __future__ import annotations

import shutil

import pytest

from tests.unit.controller.conftest import url

__all__ = ["url"]


@pytest.fixture(autouse=True)
def migrated(tmp_path, sqlite_template):
    """Where a test names no database it is this one."""
    shutil.copy(sqlite_template, tmp_path / "edgeward.db")
