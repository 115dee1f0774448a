from __future__ import annotations

import json

import pytest

from edgeward.relay.lines import Seldom, say


def test_a_line_is_one_json_object_whatever_is_in_it(capfd: pytest.CaptureFixture[str]) -> None:
    say("warning", "backend not reached", reason='evil"\n{"level": "info"}\x1b[31m\x7f')

    (line,) = capfd.readouterr().err.splitlines()
    assert json.loads(line)["reason"] == 'evil"\n{"level": "info"}\x1b[31m\x7f'
    assert line.isprintable()


def test_what_happens_often_is_said_seldom_and_counted(capfd: pytest.CaptureFixture[str]) -> None:
    seldom = Seldom(3600)
    for number in range(1000):
        seldom.say("warning", "trouble", about=str(number % 2))

    assert len(capfd.readouterr().err.splitlines()) == 2


def test_so_many_kinds_of_trouble_are_forgotten_that_memory_is_bounded() -> None:
    seldom = Seldom(3600)
    for number in range(2000):
        seldom.say("warning", "trouble", about=str(number))

    assert len(seldom._since) <= 256
