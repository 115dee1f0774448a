"""Every right, every role, every project: the whole table, and nothing beyond it."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from edgeward.access.decide import decide, decide_change, decide_mint, require
from edgeward.access.model import Principal, Right, Role, Verdict
from edgeward.errors import NotFound, Refused

A, R, H = Verdict.ALLOWED, Verdict.REFUSED, Verdict.HIDDEN
WHO = {
    "viewer@*": Principal("1", "v", "viewer", "*"),
    "viewer@a": Principal("2", "va", "viewer", "a"),
    "operator@*": Principal("3", "o", "operator", "*"),
    "operator@a": Principal("4", "oa", "operator", "a"),
    "admin@*": Principal("5", "ad", "admin", "*"),
    "admin@a": Principal("6", "ada", "admin", "a"),
    "join": Principal("7", "j", "node", "*"),
    "node": Principal("8", "n", "node", "*", node="n1"),
}
#                    READ a  READ b  CHANGE a  CHANGE b  ADMIN a  ADMIN b  SURVEY  GOVERN  JOIN  FOLLOW n1  FOLLOW n2
TABLE = {
    "viewer@*":     (A,      A,      R,        R,        R,       R,       A,      R,      R,    R,         R),
    "viewer@a":     (A,      H,      R,        H,        R,       H,       R,      R,      R,    R,         R),
    "operator@*":   (A,      A,      A,        A,        R,       R,       A,      R,      R,    R,         R),
    "operator@a":   (A,      H,      A,        H,        R,       H,       R,      R,      R,    R,         R),
    "admin@*":      (A,      A,      A,        A,        A,       A,       A,      A,      R,    R,         R),
    "admin@a":      (A,      H,      A,        H,        A,       H,       R,      R,      R,    R,         R),
    "join":         (R,      R,      R,        R,        R,       R,       R,      R,      A,    R,         R),
    "node":         (R,      R,      R,        R,        R,       R,       R,      R,      R,    A,         R),
}  # fmt: skip
COLUMNS = [
    *((right, project, None) for right in (Right.READ, Right.CHANGE, Right.ADMINISTER) for project in "ab"),
    (Right.SURVEY, None, None), (Right.GOVERN, None, None), (Right.JOIN, None, None),
    (Right.FOLLOW, None, "n1"), (Right.FOLLOW, None, "n2"),
]  # fmt: skip


@pytest.mark.parametrize("who", TABLE)
def test_the_table_of_rights(who):
    found = tuple(decide(WHO[who], right, project, node) for right, project, node in COLUMNS)
    assert found == TABLE[who]


def test_the_table_has_every_role_and_every_right():
    assert {p.role for p in WHO.values()} == set(get_args(Role))
    assert {right for right, _, _ in COLUMNS} == set(Right)


#                    listen  cache  issuers  domains  services  routes  literal service  one that reaches the host
CHANGES = {
    "viewer@*":     (R,      R,     R,       R,       R,        R,      R,      R),
    "viewer@a":     (R,      R,     R,       R,       R,        R,      R,      R),
    "operator@*":   (R,      R,     R,       A,       A,        A,      R,      R),
    "operator@a":   (R,      R,     R,       A,       A,        A,      R,      R),
    "admin@*":      (A,      A,     A,       A,       A,        A,      A,      A),
    "admin@a":      (R,      R,     A,       A,       A,        A,      A,      R),
    "join":         (R,      R,     R,       R,       R,        R,      R,      R),
    "node":         (R,      R,     R,       R,       R,        R,      R,      R),
}  # fmt: skip


@pytest.mark.parametrize("who", CHANGES)
@pytest.mark.parametrize("action", ["create", "change"])
def test_the_table_of_changes(who, action):
    kinds = ["listen", "cache", "issuers", "domains", "services", "routes"]
    found = [decide_change(WHO[who], action, kind, "a") for kind in kinds]
    found.append(decide_change(WHO[who], action, "services", "a", ["backends[0].url"]))
    found.append(decide_change(WHO[who], action, "services", "a", ["backends[0].url"], ["backends[0].url"]))
    assert tuple(found) == CHANGES[who]


@pytest.mark.parametrize("who", WHO)
def test_a_kind_nobody_thought_of_is_refused(who):
    assert decide_change(WHO[who], "create", "tunnels", "a") is R


def test_an_operator_may_delete_what_an_admin_made_with_literal_places():
    assert decide_change(WHO["operator@a"], "delete", "services", "a", ["backends[0].url"]) is A


@pytest.mark.parametrize("who", WHO)
def test_nobody_gives_more_than_they_have(who):
    for role, project in itertools.product(get_args(Role), ("a", "b", "*")):
        allowed = decide_mint(WHO[who], role, project) is A
        expected = who == "admin@*" or (who == "admin@a" and project == "a" and role != "node")
        assert allowed == expected, (role, project)


def test_what_is_hidden_is_not_found_and_what_is_refused_says_by_whom():
    with pytest.raises(NotFound, match="no such object"):
        require(WHO["viewer@a"], Right.READ, "b")
    with pytest.raises(Refused, match="'va' \\(viewer of project a\\) may not change"):
        require(WHO["viewer@a"], Right.CHANGE, "a")
