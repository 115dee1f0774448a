"""The sealed copy's key is wrapped, and the copy outlives an exchange of what wraps it."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest

from edgeward.node.sealed_copy.key import seal
from edgeward.sealing import Seal
from edgeward.secret import Secret
from edgeward.wrapping import Sources

ONE, TWO = "11" * 32, "22" * 32


@pytest.fixture
def sources(tmp_path):
    return Sources(tmp_path / "seal.key")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "node"


def given(sources, *keys):
    return replace(sources, text=Secret("\n".join(keys)))


def test_it_is_the_same_after_a_restart_and_nowhere_in_the_clear(sources, directory):
    first = seal(sources, directory)
    assert seal(sources, directory).key_id == first.key_id

    (file,) = directory.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sources.own.read_bytes() not in file.read_bytes()
    assert Seal(sources.own.read_bytes()).key_id != first.key_id


def test_the_wrapping_key_is_exchanged_step_by_step(sources, directory):
    first = seal(given(sources, ONE), directory)

    assert seal(given(sources, TWO, ONE), directory).key_id == first.key_id
    assert seal(given(sources, TWO), directory).key_id == first.key_id
    assert not sources.own.exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\x00 x", b"0011223344556677 " + b"x" * 80])
def test_a_key_that_does_not_open_is_made_anew(sources, directory, content):
    first = seal(given(sources, ONE), directory)
    (directory / "copy.key").write_bytes(content)

    second = seal(given(sources, ONE), directory)

    assert second.key_id != first.key_id
    assert seal(given(sources, ONE), directory).key_id == second.key_id
    assert seal(given(sources, TWO), directory).key_id != second.key_id


def test_the_copy_of_the_version_before_is_gone_on_with(sources, directory):
    directory.mkdir()
    (directory / "last-good.db").write_bytes(b"")
    sources.own.write_bytes(b"k" * 32)

    assert seal(sources, directory).key_id == Seal(b"k" * 32).key_id
    assert seal(sources, directory).key_id == Seal(b"k" * 32).key_id
