"""The controller's own settings: from options, the environment, or a default; wrong ones in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeward.controller.config import read
from edgeward.errors import Invalid


def test_options_win_over_the_environment():
    environment = {"EDGEWARD_STATE_DIR": "/a", "EDGEWARD_CONFIG": "/b.yaml"}

    assert read([], environment).state_dir == Path("/a")
    assert read([], environment).config == Path("/b.yaml")
    settings = read(
        ["--state-dir", "/c", "--config", "/d.yaml", "--api", "[::1]:2443", "--api", ":1"], environment
    )
    assert (settings.state_dir, settings.config) == (Path("/c"), Path("/d.yaml"))
    assert [str(a) for a in settings.api] == ["[::1]:2443", "0.0.0.0:1"]
    assert settings.database == "sqlite+aiosqlite:////c/edgeward.db"


def test_another_database_is_taken_as_it_is_named():
    assert read([], {"EDGEWARD_DATABASE": "postgresql+asyncpg://x"}).database == "postgresql+asyncpg://x"


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--api", "localhost:1"], {}),
        (["--api", "1.2.3.4:0"], {}),
        ([], {"EDGEWARD_LOG_LEVEL": "loud"}),
        ([], {"EDGEWARD_API_NAMES": "a_b"}),
        ([], {"EDGEWARD_API_NAMES": "ok, -x"}),
    ],
)
def test_what_is_wrong_is_said(arguments, environment):
    with pytest.raises(Invalid):
        read(arguments, environment)
