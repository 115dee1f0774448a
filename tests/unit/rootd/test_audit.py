"""What rootd writes down, and that `edgeward action verify-log` finds whatever is changed in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeward.cli import chain
from edgeward.rootd.audit import MOST_FILES, NAME, AuditLog
from edgeward.rootd.trusted import Untrusted


@pytest.fixture
def place(state_dir: Path) -> Path:
    path = state_dir / "log"
    path.mkdir(mode=0o755)
    return path


def written(place: Path, count: int, most_bytes: int = 1 << 20) -> AuditLog:
    log = AuditLog(place, most_bytes)
    for index in range(count):
        log.write({"uid": 33, "action": "a", "values": {"x": f"v{index}"}, "outcome": "done"})
    return log


def failures(log: AuditLog, error: type[OSError]) -> int:
    """Write thirty lines and count those that end so."""
    failed = 0
    for _ in range(30):
        try:
            log.write({"outcome": "done"})
        except error:
            failed += 1
    return failed


def verified(place: Path, anchors: dict[int, str] | None = None) -> chain.Verified:
    return chain.verify(chain.lines(chain.files(place)), anchors)


def test_what_rootd_writes_is_whole(place):
    written(place, 20).close()
    log = written(place, 20)

    found = verified(place, {log.number: log.newest})
    assert (found.first, found.last, found.lines, found.anchors, found.problems) == (1, 40, 40, 1, [])
    assert (place / NAME).stat().st_mode & 0o777 == 0o600


def test_the_chain_goes_on_over_rotated_files_and_old_ones_go(place):
    log = written(place, 400, most_bytes=1000)

    found = verified(place, {1: "gone", log.number: log.newest})
    assert found.problems == []
    assert found.last == 400
    assert len(list(place.iterdir())) == MOST_FILES + 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_and_any_missing_line_tells(place, data):
    for path in place.iterdir():
        path.unlink()
    log = written(place, 12)
    log.close()
    text = (place / NAME).read_bytes()
    if data.draw(st.booleans(), label="cut a line"):
        lines = text.splitlines(keepends=True)
        del lines[data.draw(st.integers(1, len(lines) - 1))]
        changed = b"".join(lines)
    else:
        at = data.draw(st.integers(0, len(text) - 2))
        byte = data.draw(st.integers(0, 255).filter(lambda b: b != text[at]))
        changed = text[:at] + bytes([byte]) + text[at + 1 :]
    (place / NAME).write_bytes(changed)

    assert verified(place, {log.number: log.newest}).problems


def test_a_log_that_root_wrote_anew_in_whole_is_told_by_what_the_controller_knows(place, state_dir):
    log = written(place, 5)
    log.close()
    (place / NAME).unlink()
    forged = AuditLog(place)
    for _ in range(5):
        forged.write({"outcome": "nothing to see"})

    assert verified(place).problems == []  # the chain alone cannot tell
    assert verified(place, {log.number: log.newest}).problems
    forged.close()
    (place / NAME).write_bytes(b"".join((place / NAME).read_bytes().splitlines(keepends=True)[:3]))
    assert "cut off" in str(verified(place, {log.number: log.newest}).problems)


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_line_torn_by_a_kill_stays_in_the_chain(place, cut):
    written(place, 5).close()
    with (place / NAME).open("r+b") as file:
        file.truncate(file.seek(0, 2) - cut)
    log = written(place, 5)

    found = verified(place, {log.number: log.newest})
    assert found.problems == []
    assert found.last == 10


def test_a_kill_in_the_middle_of_a_rotation_leaves_the_chain_whole(place):
    written(place, 5).close()
    (place / NAME).rename(place / f"{NAME}.1")
    log = written(place, 5)

    found = verified(place, {log.number: log.newest})
    assert (found.problems, found.last) == ([], 10)


def test_two_cannot_write_one_log(place):
    first = written(place, 1)

    with pytest.raises(Untrusted, match="another rootd"):
        AuditLog(place)
    first.close()


def test_a_log_that_is_a_link_is_not_written(place, state_dir):
    (place / NAME).symlink_to(state_dir / "elsewhere")

    with pytest.raises(OSError):
        AuditLog(place)
    assert not (state_dir / "elsewhere").exists()


def test_a_rotation_that_fails_over_and_over_loses_nothing(place):
    log = written(place, 8, most_bytes=1000)
    (place / f"{NAME}.next").mkdir()  # so that no other file can be begun
    before = sorted(path.name for path in place.iterdir())
    assert failures(log, OSError) >= 20
    assert sorted(path.name for path in place.iterdir()) == before
    (place / f"{NAME}.next").rmdir()
    log.write({"outcome": "done"})

    found = verified(place, {log.number: log.newest})
    assert (found.problems, found.first) == ([], 1)


def test_a_file_that_cannot_make_room_costs_no_descriptors(place):
    log = written(place, 8, most_bytes=1000)
    (place / f"{NAME}.{MOST_FILES - 1}").touch()
    (place / f"{NAME}.{MOST_FILES}").mkdir()
    before = os.listdir("/proc/self/fd")

    assert failures(log, IsADirectoryError) >= 20
    assert os.listdir("/proc/self/fd") == before


def test_the_chain_goes_on_after_the_longest_line_there_can_be(place):
    values = {f"{index:x}{'𝔢' * 499}": "𝔞" * 500 for index in range(16)}  # what one request has room for
    log = AuditLog(place)
    log.write({"action": "a", "values": {"x": "before"}, "outcome": "refused"})
    log.write({"action": "a", "values": values, "asker": {"token": "𝔱" * 500}, "outcome": "refused"})
    log.close()

    log = AuditLog(place)
    log.write({"action": "a", "values": {"x": "after"}, "outcome": "done"})

    found = verified(place, {log.number: log.newest})
    assert (found.first, found.last, found.lines, found.problems) == (1, 3, 3, [])
