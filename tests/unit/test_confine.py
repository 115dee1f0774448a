"""What a program holds in memory stays there; each try in a process of its own, because there is no way back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeward import confine

_PYTHON = shutil.which("python3", path="/usr/bin") or sys.executable

_SHOW = "import ctypes, resource; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))"


def shown(before: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", f"{before}; {_SHOW}"], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_confined_process_is_not_dumped_and_not_attached_to() -> None:
    confined = shown("from edgeward.confine import keep_memory_private; keep_memory_private()")

    assert shown("pass").startswith("1 ")
    assert confined == "0 (0, 0)"


_WAITING = "import sys; print('there', flush=True); sys.stdin.read()"
_LOOK = """
import ctypes, os, sys
pid = int(sys.argv[1])
def tried(name):
    try:
        open(f"/proc/{pid}/{name}", "rb").close()
        return "read"
    except PermissionError:
        return "refused"
attached = ctypes.CDLL(None, use_errno=True).ptrace(16, pid, 0, 0) == 0
print(tried("mem"), tried("environ"), tried("status"), "attached" if attached else "refused")
"""


def test_programs_of_the_same_user_cannot_look_into_it(state_dir: Path) -> None:
    as_somebody = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
    found = {}
    for name, before in (("open", ""), ("confined", "from confine import *; keep_memory_private(); ")):
        shutil.copy(confine.__file__, state_dir)
        state_dir.chmod(0o755)
        command = [_PYTHON, "-c", before + _WAITING]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=state_dir, **as_somebody
        ) as process:
            assert process.stdout is not None and process.stdin is not None
            if process.stdout.readline() != b"there\n":
                pytest.skip("this Python cannot be run by another user")
            look = [_PYTHON, "-c", _LOOK, str(process.pid)]
            told = subprocess.run(
                look, capture_output=True, text=True, cwd=state_dir, check=False, **as_somebody
            )
            found[name] = told.stdout.split()
            process.kill()

    assert found["open"][1:3] == ["read", "read"], "else this test proves nothing"
    assert found["confined"] == ["refused", "refused", "read", "refused"]
