from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.rootd.frames import Asker
from edgeward.rootd.table import charon, hands
from edgeward.rootd.table.actions import Action, Peer
from edgeward.rootd.table.builtin import actions
from edgeward.rootd.table.placeholders import Wrong

PLACE = Path("/run/edgeward-rootd")
ACTIONS = actions(PLACE, [500, 501])
RIGHT = {
    "namespace": "office", "relay": "web", "address": "192.0.2.1", "port": 80, "resolver": "none",
    "level": 1, "driver": "libreswan", "transport": "tcp", "rules": "drop 10.0.0.0/8 10.1.0.0/16",
    "network": "outside 203.0.113.5/24; bridge br-ex", "elsewhere": "drop", "pairs": "10.1.0.0/24 1400 10.2.0.0/24",
}  # fmt: skip
PLAIN = re.compile(r"[a-z0-9][a-z0-9.:-]*|::[0-9a-f:.]*")
RULES = re.compile(r"((accept|drop|snat-exempt) [0-9a-f.:]+/[0-9]+ [0-9a-f.:]+/[0-9]+(;(?!$)|$))*")
WORD = r"[a-zA-Z0-9_][a-zA-Z0-9_.:/-]*|::[0-9a-f:./]*"
CLAUSES = re.compile(rf"(({WORD})( ({WORD}))*(;(?!$)|$))*")
TEXTS = {"rules": RULES, "network": CLAUSES, "pairs": CLAUSES}
TEXT = st.text(max_size=30) | st.text(alphabet="-a1./: ;{}$\n\0%@", max_size=12) | st.integers()


def values(action: Action) -> dict[str, str | int]:
    return {name: RIGHT[name] for name in action.types}


def check(action: Action, name: str, value: str | int) -> None:
    """Give any value in one place: it is refused, or one word that is no option and nothing but its type."""
    try:
        words = action.rendered({**values(action), name: value})
    except Wrong:
        return
    right = action.rendered(values(action))
    at = action.argv.index(f"{{{name}}}")
    assert words[:at] + words[at + 1 :] == right[:at] + right[at + 1 :]
    assert TEXTS.get(name, PLAIN).fullmatch(words[at]), words[at]


@pytest.mark.parametrize(("action", "name"), [(a, n) for a in ACTIONS.values() for n in a.types])
@settings(max_examples=300, deadline=None)
@given(value=TEXT)
def test_no_value_becomes_anything_but_one_word_of_its_type(action, name, value):
    check(action, name, value)


def test_that_check_finds_a_type_that_lets_anything_through():
    action = dataclasses.replace(ACTIONS["create-namespace"], types={"namespace": str})

    for value in ("-n", "../x", "a b", "a\n", ""):
        with pytest.raises(AssertionError):
            check(action, "namespace", value)


def test_only_root_and_the_faces_may_ask_and_nobody_over_the_api():
    for action in ACTIONS.values():
        for uid, may in ((0, True), (500, True), (501, True), (502, False)):
            assert action.allowed.peer(Peer(uid, 500, frozenset({0, 500}), 1)) is may
        assert not any(
            action.allowed.asker(Asker(role, "token", "::1")) for role in ("viewer", "operator", "admin")
        )


def test_what_is_run_is_fixed_but_for_the_values():
    for action in ACTIONS.values():
        if action.at_once is None:
            assert action.begin is hands.begin
            assert action.argv[:2] == (action.name, str(PLACE))
            assert action.argv[2:3] == (("{namespace}",) if action.types else ()), "what it is held alone by"


@pytest.mark.parametrize("level", range(-1, 5))
def test_a_charon_may_be_told_to_log_anything_from_nothing_on(level):
    *_, word = ACTIONS["start-charon"].rendered({"namespace": "office", "level": level})

    assert f"\n        default = {level}\n" in charon.conf(has_esp=True, level=word)
