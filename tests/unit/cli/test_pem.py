"""PEM files for other servers: swapped together, for nobody else to read, whatever is cut short."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edgeward import durable
from edgeward.cli.pem.directory import opened
from edgeward.cli.pem.following import command
from edgeward.errors import Conflict, Invalid, Unavailable
from edgeward.secret import Secret
from tests.pairs import authority, make

CA = authority("CA")
FIRST, SECOND = make(["a.example"], CA), make(["a.example"], CA)


def put(found, made, name="a.example", fingerprint="1" * 64) -> None:
    found.begin()
    found.put(name, made.pem + CA.pem, Secret(made.key_pem), fingerprint)


def test_a_name_has_its_four_files_for_its_owner_alone(tmp_path):
    path = tmp_path / "pem"
    with opened(path) as found:
        put(found, FIRST, "*.a.example")
        assert found.due
        found.done()
        assert not found.due and found.holds() == {"*.a.example": "1" * 16}

    name = path / "_.a.example"
    texts = {file.name: file.read_text() for file in name.iterdir()}
    assert texts == {
        "fullchain.pem": FIRST.pem + CA.pem,
        "cert.pem": FIRST.pem,
        "chain.pem": CA.pem,
        "privkey.pem": FIRST.key_pem,
    }
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (path, name, *name.iterdir())}
    assert modes == {0o700, 0o600}


def test_a_change_is_one_link_and_the_old_files_stay_until_the_hook_ran(tmp_path):
    with opened(tmp_path) as found:
        put(found, FIRST)
        found.done()
        reader = os.open(tmp_path / "a.example", os.O_RDONLY | os.O_DIRECTORY)
        before = (tmp_path / "a.example").resolve()
        put(found, SECOND, fingerprint="2" * 64)
        assert (tmp_path / "a.example" / "privkey.pem").read_text() == SECOND.key_pem
        assert (before / "privkey.pem").read_text() == FIRST.key_pem
        assert "privkey.pem" in os.listdir(reader)
        found.done()
        assert not before.exists()
        os.close(reader)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", range(1, 12))
def test_killed_at_any_step_the_pair_is_whole_and_the_hook_is_due(tmp_path, monkeypatch, step):
    with opened(tmp_path) as found:
        put(found, FIRST)
        found.done()
    left = [step]

    def killing(real):
        def call(*given, **named):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return real(*given, **named)

        return call

    with monkeypatch.context() as patched, opened(tmp_path) as found:
        patched.setattr(durable, "create", killing(durable.create))
        patched.setattr(durable, "sync", killing(durable.sync))
        for name in ("rename", "symlink_to", "mkdir"):
            patched.setattr(Path, name, killing(getattr(Path, name)))
        with pytest.raises(Killed):
            put(found, SECOND, fingerprint="2" * 64)
    with opened(tmp_path) as found:
        key = (tmp_path / "a.example" / "privkey.pem").read_text()
        cert = (tmp_path / "a.example" / "cert.pem").read_text()
        assert (cert, key) in [(made.pem, made.key_pem) for made in (FIRST, SECOND)]
        assert found.due
        put(found, SECOND, fingerprint="2" * 64)
        found.done()
        assert found.holds() == {"a.example": "2" * 16}
        assert {p.name for p in tmp_path.iterdir()} <= {"a.example", ".versions", ".lock"}
        assert len(list((tmp_path / ".versions").iterdir())) == 1


def test_one_process_keeps_a_directory(tmp_path):
    with opened(tmp_path), pytest.raises(Conflict, match="another edgeward export keeps"), opened(tmp_path):
        pass


def test_a_full_disk_is_told_as_what_it_is(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr(durable, "create", full)
    with pytest.raises(Unavailable, match="No space left on device"), opened(tmp_path) as found:
        put(found, FIRST)


def test_a_hook_is_split_like_a_shell_does_and_no_shell_runs_it():
    assert command(None) == ()
    assert command("sh -c 'echo $HOME; true'")[1:] == ("-c", "echo $HOME; true")
    for bad in ("'", "", "no-such-program x"):
        with pytest.raises(Invalid, match="--after"):
            command(bad)
