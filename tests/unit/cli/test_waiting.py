"""How far nodes are with a revision: who is waited for, and what counts as refused."""

from __future__ import annotations

import pytest

from edgeward.cli.waiting import Waiting


def node(name: str, revision: int, connected: bool = True, rejections=(), older=()) -> dict:
    return {
        "name": name,
        "connected": connected,
        "revision": revision,
        "rejections": list(rejections),
        "older": list(older),
    }


def refusal(revision: int, about: str = "services/default/shop") -> dict:
    return {"object": about, "message": "no such cipher", "revision": revision}


def test_every_connected_node_is_waited_for_and_its_time_kept():
    waiting = Waiting(5)
    assert waiting.take([node("a", 4), node("b", 5)], 0.25) == ["b"]
    assert not waiting.over(0.25)
    assert waiting.take([node("a", 5), node("b", 6)], 0.5) == ["a"]
    assert waiting.over(0.5) and waiting.done
    assert waiting.took == {"a": 0.5, "b": 0.25}


def test_a_node_that_is_away_gets_a_moment_and_then_counts_against_it():
    waiting = Waiting(5)
    waiting.take([node("a", 5), node("b", 4, connected=False)], 0.1)
    assert not waiting.over(0.1)
    assert waiting.over(5.0) and not waiting.done
    waiting.take([node("a", 5), node("b", 5)], 5.0)
    assert waiting.done


def test_a_node_that_is_away_and_had_it_before_serves_it():
    waiting = Waiting(5)
    waiting.take([node("a", 5, connected=False)], 0.1)
    assert waiting.done


def test_nobody_to_wait_for_is_not_done():
    waiting = Waiting(5)
    waiting.take([], 1.0)
    assert not waiting.over(30.0) and not waiting.done


@pytest.mark.parametrize(
    ("revision", "about", "spoils"),
    [(5, (), True), (6, (), True), (4, (), False), (4, ("services/default/shop",), True)],
)
def test_an_older_refusal_counts_only_where_it_is_about_what_was_applied(revision, about, spoils):
    refused = refusal(revision)
    waiting = Waiting(5, about)
    fresh = [refused] if revision >= 5 else []
    waiting.take([node("a", 5, rejections=fresh, older=[] if fresh else [refused])], 0.1)
    assert waiting.done is not spoils
    assert waiting.over(0.1)
    assert (waiting.refusals("a") == [refused]) is spoils


def test_answers_of_an_older_controller_are_understood():
    waiting = Waiting(5)
    old = node("a", 5, rejections=[refusal(3)])
    del old["older"]
    waiting.take([old, {"name": "b", "connected": True, "revision": 5, "rejections": [{"object": "x"}]}], 0.1)
    assert waiting.states == {"a": "serves", "b": "refuses"}
