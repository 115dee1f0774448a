"""Where a Libreswan is: unpacked by the set-up, since Debian's package conflicts with strongSwan's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

_PREFIXES = (Path(__file__).resolve().parents[1] / ".tools" / "libreswan", Path("/"))


def prefix() -> Path:
    """Give what it stands below; without it the test is left out, or fails in CI."""
    found = next((one for one in _PREFIXES if tool("pluto", one).exists()), None)
    if found is not None and "not found" not in _libraries(tool("pluto", found)):
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(
            "Libreswan or a library of it is missing, and CI leaves nothing out; see apt-packages.txt"
        )
    pytest.skip("Libreswan or a library of it is not there; .ci/set-up tools, see apt-packages.txt")


def tool(name: str, below: Path | None = None) -> Path:
    return (below or prefix()) / "usr" / "libexec" / "ipsec" / name


def _libraries(program: Path) -> str:
    return subprocess.run(
        ["ldd", str(program)], capture_output=True, text=True, timeout=30, check=False
    ).stdout
