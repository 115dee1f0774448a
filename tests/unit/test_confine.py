"""What a program holds in memory stays there; each try in a process of its own, because there is no way back."""

from __future__ import annotations

import subprocess
import sys

_SHOW = "import ctypes, resource; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))"


def shown(before: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", f"{before}; {_SHOW}"], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_confined_process_is_not_dumped_and_not_attached_to() -> None:
    confined = shown("from edgeward.confine import keep_memory_private; keep_memory_private()")

    assert shown("pass").startswith("1 ")
    assert confined == "0 (0, 0)"
