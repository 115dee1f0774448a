from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from edgeward.rootd import trusted
from edgeward.rootd.trusted import Untrusted


def text_of(path: Path) -> bytes:
    within = trusted.directory(path.parent)
    try:
        return trusted.file(path.name, within, str(path))
    finally:
        os.close(within)


@pytest.fixture
def place(state_dir: Path) -> Path:
    path = state_dir / "in"
    path.mkdir(mode=0o755)
    (path / "file").write_text("text")
    return path


def test_what_only_its_owner_can_write_is_read(place):
    assert text_of(place / "file") == b"text"


def test_a_directory_that_is_made_is_at_once_one_that_others_can_look_into(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "chmod", killed)
    before = os.umask(0o077)
    try:
        with suppress(KeyboardInterrupt):
            os.close(trusted.made(place / "new"))
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)

    assert (place / "new").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_not_read(place, mode):
    (place / "file").chmod(mode)

    with pytest.raises(Untrusted, match="written by others; chmod go-w"):
        text_of(place / "file")


@pytest.mark.parametrize("mode", [0o770, 0o757, 0o1777])
def test_a_directory_that_others_can_write_is_not_opened(place, mode):
    place.chmod(mode)

    with pytest.raises(Untrusted, match="written by others"):
        trusted.directory(place)


def test_nor_one_below_such_a_directory_unless_nobody_can_rename_it(place):
    below = place / "below"
    below.mkdir(mode=0o755)
    place.chmod(0o1777)
    os.close(trusted.directory(below))  # as in /tmp
    place.chmod(0o777)

    with pytest.raises(Untrusted, match="written by others"):
        trusted.directory(below)


def test_symbolic_links_lead_nowhere(place, state_dir):
    (place / "link").symlink_to(place / "file")
    (state_dir / "way").symlink_to(place)

    with pytest.raises(Untrusted):
        text_of(place / "link")
    with pytest.raises(Untrusted):
        trusted.directory(state_dir / "way")


def test_paths_are_whole(place):
    for path in (Path("in"), place / ".." / "in"):
        with pytest.raises(Untrusted, match="the whole path"):
            trusted.directory(path)


def test_pipes_and_long_files_are_not_read(place):
    os.mkfifo(place / "pipe", 0o600)
    (place / "long").write_bytes(b"x" * (trusted.MOST_BYTES + 1))

    with pytest.raises(Untrusted, match="not a plain file"):
        text_of(place / "pipe")
    with pytest.raises(Untrusted, match="more than"):
        text_of(place / "long")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_not_read(place):
    os.chown(place / "file", 65534, 65534)
    with pytest.raises(Untrusted, match="belongs to uid 65534; chown root"):
        text_of(place / "file")
    os.chown(place, 65534, 65534)
    with pytest.raises(Untrusted, match="belongs to uid 65534"):
        trusted.directory(place)


def test_programs_are_what_root_installed(place):
    trusted.program("/usr/bin/true")
    with pytest.raises(Untrusted, match="cannot be executed"):
        trusted.program(str(place / "file"))
    (place / "file").chmod(0o775)
    with pytest.raises(Untrusted, match="written by others"):
        trusted.program(str(place / "file"))
    (place / "true").symlink_to("/usr/bin/true")
    with pytest.raises(Untrusted, match="symbolic link; write /usr/bin/true"):
        trusted.program(str(place / "true"))
    with pytest.raises(Untrusted, match="No such file"):
        trusted.program("/usr/bin/no-such-program")
