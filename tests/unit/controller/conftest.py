"""A controller of each test's own; modules that want another one say so themselves."""

from __future__ import annotations

import shutil

import pytest

from tests.unit.controller.assembled import controller


@pytest.fixture
def url(request, tmp_path, sqlite_template):
    """A database on SQLite; a test may be run ``on_both``."""
    if getattr(request, "param", "sqlite") == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}"


@pytest.fixture
async def here(tmp_path, url):
    async with controller(tmp_path, url) as found:
        yield found


@pytest.fixture
async def admin(here):
    return await here.token("boss", "admin")
