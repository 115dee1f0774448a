"""Fixtures for tests with real processes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration import processes
from tests.integration.openresty_rig import LUA
from tests.integration.rootd_rig import readable_python

if TYPE_CHECKING:
    from tests.integration.acme import Pebble
    from tests.integration.acme_faults import Proxy
    from tests.integration.acme_orders import Desk


@pytest.fixture
def running() -> processes.Running:
    """``with running([...], output=state_dir / "x.log") as process:``; see processes.running."""
    return processes.running


@pytest.fixture
def nginx(needs: Callable[[str], str]) -> str:
    """Debian's nginx with its Lua module, and what that needs."""
    found = needs("nginx")
    cjson = list(Path("/usr/lib").glob("*/lua/5.1/cjson.so"))
    missing = [what for what, there in (("http-lua", LUA.exists()), ("lua-cjson", cjson)) if not there]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"{missing} missing, and CI leaves nothing out; see apt-packages.txt")
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed; see apt-packages.txt")
    return found


@pytest.fixture
async def ours(sqlite_template: Path, state_dir: Path) -> AsyncIterator[Desk]:
    """An installation that orders certificates: see acme_orders."""
    from tests.integration.acme_orders import desk  # few tests need what it brings along

    made = desk(sqlite_template, state_dir)
    yield made
    await made.close()


@pytest.fixture(scope="module")
def python(needs: Callable[[str], str]) -> Iterator[str]:
    """A Python that every user may run, for what rootd starts as others."""
    with readable_python(needs) as found:
        yield found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]) -> Iterator[Pebble]:
    """A Pebble that believes every proof, for all tests of a module: each has an account of its own."""
    from tests.integration.acme import pebble

    with pebble(tmp_path_factory.mktemp("pebble"), needs, always_valid=True) as made:
        yield made


@pytest.fixture
def between(authority: Pebble) -> Iterator[Proxy]:
    """What stands before that authority, and fails as it is told to."""
    from tests.integration.acme_faults import proxy

    with proxy(authority) as made:
        yield made
