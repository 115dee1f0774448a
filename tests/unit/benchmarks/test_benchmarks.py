"""What the benchmarks decide apart from measuring: percentiles, goals, the table, a flood's first bytes."""

from __future__ import annotations

import os
import time

import pytest

from benchmarks.flood import client_hello
from benchmarks.processes import cpu_seconds, free_ports, rss_mb, tree
from benchmarks.rounds import by_turns
from benchmarks.table import NOT_INSTALLED, Goal, Row, printed, ratio_goals
from benchmarks.visits import Told


def test_percentiles_are_of_the_handshakes_that_succeeded() -> None:
    told = Told([float(n) for n in range(1, 101)], 3, "", 1.0, 0.1)

    assert (told.percentile(0.5), told.percentile(0.99), told.percentile(1.0)) == (51, 100, 100)
    with pytest.raises(RuntimeError, match="refused"):
        Told([], 1, "refused", 1.0, 0.1).percentile(0.5)


def test_goals_are_held_only_against_peers_that_ran() -> None:
    goals = ratio_goals(30.0, (("nginx", 0.8), ("Caddy", 1.05)), {"Caddy": 20.0})

    assert goals == (Goal(1.5, 1.05, "Caddy"),)
    assert str(goals[0]) == "1.50 × Caddy (≤ 1.05 ×) MISSED"


def test_the_table_says_what_is_not_installed_and_names_a_measurement_once() -> None:
    lines = printed([Row("cost", "nginx", NOT_INSTALLED), Row("cost", "Caddy", 12.5, "µs")]).splitlines()

    assert lines[2].split() == ["cost", "nginx", "not", "installed"]
    assert lines[3].split() == ["Caddy", "12.5", "µs"]


def test_names_of_one_length_fit_into_one_prepared_client_hello() -> None:
    first, second = (client_hello(f"nobody-{n}.bench.example") for n in "12")

    assert len(first) == len(second) and first.count(b"nobody-1.bench.example") == 1


def test_cpu_time_is_that_of_the_process_asked_for() -> None:
    before, end = cpu_seconds([os.getpid()]), time.process_time() + 0.1
    while time.process_time() < end:
        pass

    assert 0.05 < cpu_seconds([os.getpid()]) - before < 1.0
    assert os.getpid() in tree(os.getppid()) and rss_mb(os.getpid()) > 1


def test_free_ports_differ() -> None:
    assert len(set(free_ports(3))) == 3


class Counted:
    """A server that takes 2 µs for each visit."""

    label = "counted"

    def __init__(self) -> None:
        self.seconds = 0.0

    def cpu(self) -> dict[str, float]:
        return {"all": self.seconds, "part": self.seconds / 2}


def test_warming_up_is_not_counted() -> None:
    def drive(contender: Counted, warming: bool) -> int:
        contender.seconds += 1.0 if warming else 200e-6
        return 100

    costs = by_turns([Counted()], 3, drive)["counted"]  # type: ignore[list-item, arg-type]

    assert costs.rounds == pytest.approx([2.0, 2.0, 2.0])
    assert costs.note == "part 1.0; rounds 2.0 to 2.0"
