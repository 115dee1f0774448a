"""Settings of the container that come from files."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

_ENTRY: dict[str, Any] = runpy.run_path(
    str(Path(__file__).parents[2] / "deploy" / "container" / "entry.py"), run_name="entry"
)
from_files = _ENTRY["from_files"]


def test_a_setting_is_what_its_file_holds(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("ew_a_b\n")
    asked = {"EDGEWARD_JOIN_FILE": str(tmp_path / "token"), "PATH": "/bin", "SOMEBODY_FILE": "x"}

    assert from_files(asked) == {"EDGEWARD_JOIN": "ew_a_b", "PATH": "/bin", "SOMEBODY_FILE": "x"}


def test_a_setting_whose_own_name_ends_so_stays() -> None:
    assert from_files({"EDGEWARD_SEAL_KEY_FILE": "/k"}) == {"EDGEWARD_SEAL_KEY_FILE": "/k"}


def test_saying_it_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="EDGEWARD_JOIN and EDGEWARD_JOIN_FILE are both set"):
        from_files({"EDGEWARD_JOIN": "a", "EDGEWARD_JOIN_FILE": str(tmp_path)})


@pytest.mark.parametrize(
    ("content", "message"), [(b"\0", "no setting"), (b"x" * 70000, "over 64 KB"), (b"\xff", "not UTF-8")]
)
def test_what_is_no_setting_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(ValueError, match=message) as told:
        from_files({"EDGEWARD_JOIN_FILE": str(tmp_path / "f")})
    assert "EDGEWARD_JOIN_FILE: " in str(told.value)


def test_a_file_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"No such file or directory; mount it where this user may read it"):
        from_files({"EDGEWARD_JOIN_FILE": str(tmp_path / "gone")})
