"""What stands on disk for pluto."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeward.errors import Unavailable
from edgeward.vpn.drivers.libreswan.whack import write


@contextmanager
def full() -> Iterator[None]:
    """Let nobody write more than some bytes: to Python that is as a full disk (SIGXFSZ is ignored)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_does_not_fit_leaves_what_was_there_and_no_part_of_the_new(tmp_path: Path) -> None:
    file = tmp_path / "one.secrets"
    write(file, "old")

    with pytest.raises(Unavailable, match="cannot be written: File too large"), full():
        write(file, "new and longer")

    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_place_that_is_gone_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        write(tmp_path / "gone" / "one.conf", "text")
