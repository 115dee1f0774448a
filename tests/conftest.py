"""Fixtures for all tests: ports, short state directories, and programs that may be missing outside CI."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import ports


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


@pytest.fixture
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
