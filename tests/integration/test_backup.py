"""A backup made while a controller works, and another controller on what is restored from it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgeward.cli.demo.visit import Failed
from tests.integration.controller_setup import Controller
from tests.integration.processes import is_alive, until
from tests.integration.up_rig import EAGER, Edge, started
from tests.postgres import Postgres


def edgeward(*words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "edgeward.cli", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, env={**os.environ, **env})


def certificates(controller: Controller) -> list[dict[str, Any]]:
    with controller.client() as client:
        items = client.get("/v1/certificates").json()["items"]
    return [{key: item[key] for key in ("name", "serial", "not_after") if key in item} for item in items]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
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


@contextmanager
def controller_away(edge: Edge) -> Iterator[None]:
    """Nobody starts the controller again; node and Envoy go on."""
    controller = edge.program("controller")["pid"]
    edge.process.send(signal.SIGSTOP)
    os.kill(controller, signal.SIGKILL)
    try:
        until(lambda: not is_alive(controller), what="the end of the controller")
        yield
    finally:
        edge.process.send(signal.SIGCONT)


@pytest.mark.slow
async def test_a_node_that_had_seen_more_serves_on_and_takes_the_restored_store_anew() -> None:
    with started() as edge:
        await edge.serves(EAGER)
        backup = edge.state.parent / "backup"
        assert edgeward("backup", backup, "--state-dir", edge.state).returncode == 0
        before = {"domains": edge.declared["domains"], "routes": edge.declared["routes"]}
        for number in range(3):  # the node gets to revisions that the backup knows nothing of
            name = f"late-{number}.example"
            edge.declare(
                domains=[*edge.declared["domains"], {"name": name}],
                routes=[*edge.declared["routes"], {"hosts": [name], "service": "shop"}],
            )
            await edge.serves(name)
        async with edge.visited(EAGER):
            with controller_away(edge):
                for part in edge.state.glob("edgeward.db*"):
                    part.rename(edge.state.parent / part.name)
                restored = edgeward("restore", backup, "--state-dir", edge.state)
                assert restored.returncode == 0, restored.stderr
                with closing(sqlite3.connect(edge.state / "edgeward.db")) as store, store:
                    store.execute("UPDATE counter SET revision = revision + 10")  # as after other changes
                edge.declare(
                    domains=[*before["domains"], {"name": "new.example"}],
                    routes=[*before["routes"], {"hosts": ["new.example"], "service": "shop"}],
                )
            await edge.serves("new.example", 30.0)
        with pytest.raises(Failed):
            await edge.visit("late-1.example")
