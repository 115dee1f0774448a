"""Fixtures for all tests: ports, short state directories, and programs that may be missing outside CI."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from edgeward.database.engine import open_engine
from edgeward.database.migrations import migrate
from tests import ports
from tests.postgres import Postgres, binaries

os.environ.setdefault("EDGEWARD_USER", "root")  # started as root, nobody else could use their directories
os.environ.setdefault(
    "EDGEWARD_ROOTD_SOCKET", "/nonexistent/rootd.sock"
)  # that of this host is not theirs to ask

settings.register_profile("edgeward", deadline=None)  # on a busy machine any example takes a second
settings.register_profile("repeatable", settings.get_profile("edgeward"), derandomize=True)
settings.load_profile("edgeward")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Have no ``::`` in the names of tests: what stands before the last one is what xdist keeps together."""
    if isinstance(val, str) and "::" in val:
        return val.replace("::", ":.:").encode("unicode_escape").decode()
    return None


@pytest.fixture(autouse=True)
def usual_process() -> None:
    """Whatever a program that was called in here has left: what other users are to read is made by tests, too,
    and what is garbage closes its files.
    """
    os.umask(0o022)
    gc.enable()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Call it for a TCP port nobody listens on; each call gives another one."""
    return ports.free_port


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """An empty directory whose path is short enough for Unix sockets deep inside it (107 bytes)."""
    path = Path(tempfile.mkdtemp(prefix="ew-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def needs() -> Callable[[str], str]:
    """``needs("curl")`` gives the program's path; without it the test is left out, or fails in CI."""

    def find(command: str) -> str:
        found = shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if found is None and os.environ.get("CI") == "true":
            pytest.fail(f"{command} is missing, and CI leaves nothing out; see apt-packages.txt")
        if found is None:
            pytest.skip(f"{command} is not installed; see apt-packages.txt")
        return found

    return find


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One PostgreSQL for the whole run; tests make databases in it and never stop it."""
    server = Postgres(_postgres_programs())
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Postgres) -> str:
    """The name of a migrated database to copy."""
    url = postgres_server.fresh()
    asyncio.run(_migrated(url))
    return url.rpartition("/")[2]


@pytest.fixture(scope="session")
def postgres_emptied(postgres_server: Postgres, postgres_template: str) -> str:
    return postgres_server.fresh(postgres_template)


@pytest.fixture
def postgres_url(postgres_server: Postgres, postgres_emptied: str) -> Iterator[str]:
    """A migrated and empty database on PostgreSQL."""
    yield postgres_emptied
    postgres_server.empty(postgres_emptied)


@pytest.fixture
def pulled_postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this test's own, to be paused and killed: what it acknowledged is on disk."""
    server = Postgres(_postgres_programs(), durable=True)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy."""
    path = tmp_path_factory.mktemp("template") / "edgeward.db"
    asyncio.run(_migrated(f"sqlite:///{path}"))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database nobody used yet, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "edgeward.db")
        return f"sqlite:///{tmp_path}/edgeward.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


def _postgres_programs() -> Path:
    found = binaries()
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("PostgreSQL is missing, and CI leaves nothing out; see apt-packages.txt")
    if found is None:
        pytest.skip("PostgreSQL is not installed; see apt-packages.txt")
    return found


async def _migrated(url: str) -> None:
    engine = open_engine(url)
    await migrate(engine)
    await engine.dispose()
