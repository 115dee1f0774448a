"""The log of a tunnel as people read it: phases, deeds, and what its daemon wrote, a line each."""

from __future__ import annotations

import json

import pytest
import typer

from edgeward.cli.printing import show
from edgeward.cli.vpn import telling
from edgeward.cli.vpn.telling import _show_items
from edgeward.errors import Unavailable

ITEMS = [
    {"at": 1.0, "what": "daemon", "driver": "strongswan", "line": "[IKE] initiating \x1b[31mx"},
    {"at": 2.0, "what": "phase", "phase": "error", "node": "n1", "reason": "the keys differ", "remedy": "give one"},
    {"at": 3.0, "what": "terminate", "who": "boss"},
    {"at": 4.0, "what": "daemon", "driver": "libreswan", "line": "#1: established"},
]  # fmt: skip


def test_each_is_a_line_without_control_characters(capsys):
    _show_items(ITEMS, show.Format.table)

    lines = capsys.readouterr().out.splitlines()
    for line, end in zip(
        lines[1:],
        ("  error on node n1: the keys differ (give one)", "  boss ended it", "  pluto: #1: established"),
        strict=True,
    ):
        assert line.endswith(end)
    assert "charon: [IKE] initiating" in lines[0] and "\x1b" not in lines[0]


def test_for_programs_each_is_an_object(capsys):
    _show_items(ITEMS, show.Format.json)

    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ITEMS


class Away:
    """A client whose server gives one line, is away twice, gives the next, and is interrupted."""

    def __init__(self) -> None:
        self.answers = [ITEMS[:1], Unavailable("no connection"), Unavailable("no connection"), ITEMS[:2]]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def get(self, _path, _where, timeout):
        if not self.answers:
            raise KeyboardInterrupt
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"items": answer, "without": ""}


def test_who_follows_goes_on_when_the_server_is_back_and_hears_once_that_it_was_away(capsys, monkeypatch):
    monkeypatch.setattr(telling, "connect", lambda *_: Away())
    monkeypatch.setattr(telling, "_FOLLOW_SECONDS", 0.0)
    with pytest.raises(typer.Exit):
        telling.log("office", follow=True, output=show.Format.json)

    said = capsys.readouterr()
    assert [json.loads(line) for line in said.out.splitlines()] == ITEMS[:2]
    assert said.err == "edgeward: no connection; trying again\n"
