"""What status says needs a person."""

from __future__ import annotations

import json
import os

import pytest

from edgeward.cli.printing.overview import show_programs, troubles


def test_a_redis_that_cannot_be_filled_needs_a_person():
    redis = {"url": "redis://r", "filled": True, "problem": None}
    assert troubles({"redis": redis}) == troubles({"redis": None}) == []
    assert troubles({"redis": {**redis, "filled": False, "problem": "redis://r: no such password"}}) == [
        "Redis is not filled, and nodes do without it: redis://r: no such password"
    ]


def test_orders_that_do_not_get_on_need_a_person():
    one = {"number": 1, "name": "a.example", "problem": "letsencrypt: no account"}
    assert troubles({"orders": {"troubled": None}}) == []
    assert troubles({"orders": {"troubled": one}}) == [
        "no new certificate for a.example: letsencrypt: no account"
    ]
    assert troubles({"orders": {"troubled": {**one, "number": 3}}}) == [
        "no new certificate for a.example: letsencrypt: no account, and 2 more: edgeward get orders"
    ]


def test_a_rootd_that_does_nothing_for_tunnels_needs_a_person():
    node = {"name": "edge1", "connected": True, "report": {"rootd": "rootd does not answer within 3 s"}}
    assert troubles({"nodes": [node]}) == [
        "what is up stays up, but no tunnel can be made or mended on node edge1: rootd does not answer within 3 s"
    ]
    assert troubles({"nodes": [{**node, "report": {"rootd": ""}}]}) == []


def test_without_a_controller_the_supervisors_record_says_what_runs(tmp_path, capsys):
    gone = 1 << 30  # no process has such a number
    known = {"state": "ready", "since": 1.0, "last_exit": None}
    programs = [
        {
            **known,
            "name": "controller",
            "state": "waiting",
            "pid": None,
            "restarts": 3,
            "last_exit": "exit code 1",
        },
        {**known, "name": "node", "pid": os.getpid(), "restarts": 0},
        {**known, "name": "envoy", "pid": gone, "restarts": 0},
    ]
    (tmp_path / "up.json").write_text(json.dumps({"pid": gone, "programs": programs}))
    show_programs(tmp_path / "up.json", 2.0)
    said = capsys.readouterr().out

    assert "controller is waiting: exit code 1" in said and "envoy is gone" in said
    assert "node is" not in said and str(os.getpid()) in said
    assert "edgeward up, which said so as process" in said


@pytest.mark.parametrize("text", ["", "[]", '{"programs": 5}', '{"programs": []}'])
def test_a_record_that_says_nothing_prints_nothing(tmp_path, capsys, text):
    (tmp_path / "up.json").write_text(text)
    show_programs(tmp_path / "up.json", 2.0)

    assert capsys.readouterr().out == ""
