"""A backup made while a controller works, and another controller on what is restored from it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.controller_setup import Controller
from tests.integration.processes import until
from tests.postgres import Postgres


def edgeward(*words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "edgeward.cli", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, env={**os.environ, **env})


def certificates(controller: Controller) -> list[dict[str, Any]]:
    with controller.client() as client:
        items = client.get("/v1/certificates").json()["items"]
    return [{key: item[key] for key in ("name", "serial", "not_after") if key in item} for item in items]


@pytest.fixture(params=["sqlite", "postgresql"])
def environment(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Where the second store is."""
    if request.param == "sqlite":
        yield {}
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    url = server.fresh()
    yield {"EDGEWARD_DATABASE": url}
    server.drop(url)


def test_a_controller_goes_on_where_the_backup_was_made(state_dir: Path, environment: dict[str, str]) -> None:
    first, second = Controller(state_dir / "one"), Controller(state_dir / "two", env=environment)
    backup = state_dir / "backup"
    first.declare()
    with first.start():
        until(lambda: len(certificates(first)) == 1, what="the certificate of shop.example")
        made = edgeward("backup", backup, "--state-dir", first.state_dir)
        assert made.returncode == 0, made.stderr
        assert "seal.key, admin.token" in made.stdout
        with first.client() as client:
            before = client.get("/v1/export").json()
        kept = certificates(first)
        token = (first.state_dir / "admin.token").read_text()
        first.declare("version: 1\n")  # what comes later is not in it
        with first.client() as client:
            until(lambda: client.get("/v1/export").json() != before, what="a later change")

    done = edgeward("restore", backup, "--state-dir", second.state_dir, **environment)
    assert done.returncode == 0, done.stderr
    assert "restored revision" in done.stdout
    with second.start():
        with second.client() as client:
            assert client.get("/v1/export").json() == before
        assert certificates(second) == kept
        assert (second.state_dir / "admin.token").read_text() == token
        assert (second.state_dir / "ca/root.pem").read_text() == (first.state_dir / "ca/root.pem").read_text()

    again = edgeward("restore", backup, "--state-dir", second.state_dir, **environment)
    assert again.returncode == 1
    assert "is there" in again.stderr or "not empty" in again.stderr
