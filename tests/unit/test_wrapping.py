"""What wraps the keys of a store: found in files, credentials and the environment; the first wraps, all open."""

from __future__ import annotations

import base64
import stat
from dataclasses import replace

import pytest

from edgeward.errors import Invalid, Unavailable
from edgeward.secret import Secret
from edgeward.wrapping import Sources, gathered

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
DATA = b"d" * 32


def lines(*keys: bytes) -> str:
    return "".join(base64.b64encode(key).decode() + "\n" for key in keys)


@pytest.fixture
def sources(tmp_path):
    return Sources(tmp_path / "state" / "seal.key")


def test_with_nothing_given_a_key_is_made_for_a_fresh_store_only(sources):
    with pytest.raises(Invalid, match=r"restore it from your backup"):
        gathered(sources, fresh=False)
    assert not sources.own.exists()

    made = gathered(sources, fresh=True)

    assert stat.S_IMODE(sources.own.stat().st_mode) == 0o600
    again = gathered(sources, fresh=False)
    assert again.unwrap(made.wrap(DATA, "k"), made.id, "k") == DATA


def test_a_key_that_is_given_leaves_nothing_in_the_state_directory(sources, tmp_path):
    (tmp_path / "key").write_bytes(ONE)

    gathered(replace(sources, file=tmp_path / "key"), fresh=True)

    assert not sources.own.exists()


@pytest.mark.parametrize("how", ["file", "text", "credential"])
@pytest.mark.parametrize("written", ["base64", "urlsafe", "hex", "raw"])
def test_keys_are_read_from_anywhere(sources, tmp_path, how, written):
    key = bytes([0xFB, 0xFF] * 16)
    raw = {
        "base64": base64.b64encode(key),
        "urlsafe": base64.urlsafe_b64encode(key),
        "hex": key.hex().encode(),
        "raw": key,
    }[written]
    (tmp_path / "seal.key").write_bytes(raw)
    if how == "text" and written == "raw":
        pytest.skip("an environment holds texts")
    given = Secret(raw.decode()) if how == "text" else tmp_path / "seal.key"

    found = gathered(replace(sources, **{how: given}), fresh=True)

    (tmp_path / "other").write_bytes(key)
    assert found.id == gathered(replace(sources, file=tmp_path / "other"), fresh=True).id


def test_the_first_key_wraps_and_the_others_still_open(sources):
    old = gathered(replace(sources, text=Secret(lines(ONE))), fresh=True)
    both = gathered(replace(sources, text=Secret(lines(TWO, ONE))), fresh=True)
    new = gathered(replace(sources, text=Secret(lines(TWO))), fresh=True)

    assert both.unwrap(old.wrap(DATA, "k"), old.id, "k") == DATA
    assert new.unwrap(both.wrap(DATA, "k"), both.id, "k") == DATA
    with pytest.raises(Invalid, match=rf"its id is {old.id}.*put it in a line behind the present one"):
        new.unwrap(old.wrap(DATA, "k"), old.id, "k")
    with pytest.raises(Invalid):
        both.unwrap(old.wrap(DATA, "k"), old.id, "another place")


def test_the_stores_own_key_still_opens_beside_one_that_is_given(sources):
    before = gathered(sources, fresh=True)
    after = gathered(replace(sources, text=Secret(lines(ONE))), fresh=False)

    assert after.ids == [gathered(replace(sources, text=Secret(lines(ONE))), fresh=False).id, before.id]
    assert str(sources.own) in after.places


@pytest.mark.parametrize("text", ["", "   \n", "not-a-key!", "c2hvcnQ=", "zz" * 32, lines(ONE) + "?"])
def test_what_is_no_key_is_refused_without_being_shown(sources, text):
    with pytest.raises(Invalid) as caught:
        gathered(replace(sources, text=Secret(text or "\n")), fresh=True)

    assert "EDGEWARD_SEAL_KEY" in str(caught.value)
    assert "openssl rand -base64 32" in str(caught.value)
    assert text.strip() == "" or text.strip() not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(sources, tmp_path):
    with pytest.raises(Unavailable, match="EDGEWARD_SEAL_KEY_FILE"):
        gathered(replace(sources, file=tmp_path / "missing"), fresh=True)
