"""Who holds off whom: all that goes on in one namespace, and who sweeps."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from edgeward.rootd.table import remains

CODE = """
import sys
from pathlib import Path
from edgeward.rootd.table import daemons
daemons.locked(Path(sys.argv[1]), *sys.argv[2:])
print("held", flush=True)
sys.stdin.read()
"""


class Holder:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def holds(self, seconds: float = 60) -> bool:
        assert self.process.stdout is not None
        events = select.poll()
        events.register(self.process.stdout, select.POLLIN)
        return bool(events.poll(1000 * seconds))


@contextmanager
def holding(place: Path, *namespace: str) -> Iterator[Holder]:
    argv = [sys.executable, "-c", CODE, str(place), *namespace]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Holder(process)


@pytest.fixture
def place(state_dir: Path) -> Path:
    for directory in (state_dir, state_dir / "namespaces", state_dir / "networks"):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
    return state_dir


def test_who_is_busy_in_one_namespace_keeps_nobody_waiting_in_another(place: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(holding(place, "vpn-0123456789ab"))
        assert first.holds()
        assert stack.enter_context(holding(place, "vpn-ba9876543210")).holds()
        assert stack.enter_context(holding(place)).holds(), "who only looks"


def test_two_are_never_busy_in_the_same_one(place: Path) -> None:
    with ExitStack() as stack:
        with holding(place, "vpn-0123456789ab") as first:
            assert first.holds()
            second = stack.enter_context(holding(place, "vpn-0123456789ab"))
            assert not second.holds(1.0)
        assert second.holds()


def test_nobody_sweeps_while_something_goes_on_anywhere(place: Path) -> None:
    dead = place / "networks" / "dead"
    dead.write_text("{}")
    with holding(place, "vpn-0123456789ab") as one:
        assert one.holds()
        remains.sweep(place)
        assert dead.exists()

    remains.sweep(place)

    assert not dead.exists()
    assert list((place / "locks").iterdir())
