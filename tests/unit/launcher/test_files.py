from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edgeward.launcher import files


def test_what_was_written_is_read_and_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"pid": 7})

    assert files.read_json(path) == {"pid": 7}
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a.json"]


def test_nonsense_reads_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("{half")
    (tmp_path / "b").write_text("[1]")

    assert [files.read_json(tmp_path / name) for name in "abc"] == [{}, {}, {}]


def test_one_at_a_time_holds_a_lock(tmp_path: Path) -> None:
    held = files.take_lock(tmp_path / "lock")

    assert held is not None
    assert (tmp_path / "lock").read_text().strip() == str(os.getpid())
    assert files.take_lock(tmp_path / "lock") is None
    os.close(held)
    again = files.take_lock(tmp_path / "lock")
    assert again is not None
    os.close(again)


def test_a_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with contextlib.suppress(OSError):
        files.take_lock(tmp_path / "lock")

    assert (tmp_path / "precious").read_text() == "data"
