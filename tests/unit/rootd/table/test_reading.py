from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeward.rootd.frames import Asker, Request
from edgeward.rootd.table.actions import Peer
from edgeward.rootd.table.reading import Denied, Table

ROOT = Peer(0, 0, frozenset(), 1)
WWW = Peer(33, 33, frozenset(), 1)
NODE = Peer(500, 500, frozenset(), 1)


@pytest.fixture
def place(state_dir: Path) -> Path:
    path = state_dir / "actions.d"
    path.mkdir(mode=0o755)
    write(path, "one", '[ask]\nusers = [33]\nroles = ["operator"]')
    return path


def write(place: Path, name: str, more: str = "") -> Path:
    path = place / f"{name}.toml"
    path.write_text(f'name = "{name}"\nargv = ["/usr/bin/true"]\n{more}')
    path.chmod(0o644)
    return path


def table(place: Path) -> Table:
    found = Table(place, {}, frozenset({500}))
    found.refresh()
    return found


def test_files_are_read_and_changes_taken_in(place):
    found = table(place)
    assert set(found.actions) == {"one"}
    assert not found.refresh()

    write(place, "two")
    assert found.refresh()
    assert set(found.actions) == {"one", "two"}
    (place / "one.toml").unlink()
    found.refresh()
    assert set(found.actions) == {"two"}


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_come_to_be_able_to_write_is_used_no_longer(place, mode):
    found = table(place)
    (place / "one.toml").chmod(mode)
    found.refresh()

    assert not found.actions
    assert found.refused == {
        str(place / "one.toml"): "can be written by others; chmod go-w it, or name another place"
    }


def test_what_is_a_link_or_not_there_is_said_in_these_words(place):
    (place / "link.toml").symlink_to("one.toml")

    assert table(place).refused == {
        str(place / "link.toml"): "it is a symbolic link; put the file itself there"
    }
    missing = place / "more" / "actions.d"
    assert table(missing).refused == {str(missing): "it is not there; root is to make it"}
    assert table(missing).told() == [f"no actions are declared: {missing} is not there"]
    assert [text.endswith("put the file itself there") for text in table(place).told()] == [True]


def test_nor_is_any_file_of_a_directory_that_others_can_write(place):
    found = table(place)
    place.chmod(0o775)
    found.refresh()

    assert not found.actions
    place.chmod(0o755)
    found.refresh()
    assert set(found.actions) == {"one"}


def test_a_broken_file_leaves_the_others(place):
    (place / "bad.toml").write_text("name = ")
    write(place, "copy").write_text('name = "one"\nargv = ["/usr/bin/true"]')
    (place / "link.toml").symlink_to(place / "one.toml")
    (place / "gone.toml").write_text('name = "gone"\nargv = ["/usr/bin/no-such-program"]')
    found = table(place)

    assert len(found.actions) == 1
    assert {Path(name).name for name in found.refused} == {"bad.toml", "one.toml", "link.toml", "gone.toml"}


def test_without_its_directory_there_is_nothing_to_ask_for(place):
    found = table(place / "nothing")

    assert not found.actions
    assert found.refused


def test_who_may_ask_is_decided_by_the_peer_and_for_users_of_the_api_by_what_their_program_says(place):
    found = table(place)
    assert found.decided(Request("one", {}), ROOT)[1] == ("/usr/bin/true",)
    assert found.decided(Request("one", {}), WWW)
    assert found.decided(Request("one", {}, Asker("operator")), NODE)
    for request, peer in (
        (Request("one", {}), NODE),
        (Request("one", {}, Asker("operator")), WWW),
        (Request("one", {}, Asker("operator")), ROOT),
        (Request("one", {}, Asker("viewer")), NODE),
        (Request("two", {}), ROOT),
    ):
        with pytest.raises(Denied, match=r"there is no action '(one|two)' that you may ask for"):
            found.decided(request, peer)
    assert found.knows(WWW) and found.knows(NODE) and found.knows(ROOT)
    assert not found.knows(Peer(34, 34, frozenset(), 1))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_that_is_given_away_is_used_no_longer(place):
    found = table(place)
    os.chown(place / "one.toml", 65534, -1)
    found.refresh()

    assert not found.actions
