"""Sealed records open only where and with what they were sealed."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.errors import Invalid, Unavailable
from edgeward.sealing import Seal, key_of

seal = Seal(bytes(32))


@given(st.binary(max_size=300), st.text(max_size=30))
def test_what_was_sealed_opens_in_its_place(plain, context):
    record = seal.seal(plain, context)

    assert seal.open(record, context) == plain
    assert seal.key_id in record


@given(st.binary(max_size=60), st.data())
def test_a_record_with_any_bit_changed_does_not_open(plain, data):
    record = bytearray(seal.seal(plain, "here"))
    place = data.draw(st.integers(0, len(record) - 1))
    record[place] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(Invalid):
        seal.open(bytes(record), "here")


def test_a_record_copied_elsewhere_or_cut_does_not_open():
    record = seal.seal(b"key", "certificate:a.example")

    for wrong, context in (
        (record, "certificate:b.example"),
        (record[:-1], "certificate:a.example"),
        (b"", ""),
    ):
        with pytest.raises(Invalid):
            seal.open(wrong, context)


def test_another_key_is_named_as_the_reason():
    with pytest.raises(Invalid, match="another key"):
        Seal(b"x" * 32).open(seal.seal(b"", ""), "")


def test_the_key_is_made_once_for_its_owner_only(tmp_path):
    path = tmp_path / "state" / "seal.key"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Seal(key_of(path)).key_id, range(16)))

    assert len(set(made)) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["seal.key"]


def test_a_key_of_the_wrong_size_is_refused(tmp_path):
    (tmp_path / "seal.key").write_bytes(b"short")

    with pytest.raises(Invalid, match="32 bytes"):
        key_of(tmp_path / "seal.key")


def test_a_place_that_cannot_hold_a_key_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(Unavailable, match="file"):
        key_of(tmp_path / "file" / "seal.key")
    with pytest.raises(Unavailable):
        key_of(tmp_path)
