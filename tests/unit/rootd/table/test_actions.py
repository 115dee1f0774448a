from __future__ import annotations

import tomllib

import pytest

from edgeward.rootd.frames import Asker
from edgeward.rootd.table.actions import Allowed, Peer, read
from edgeward.rootd.table.placeholders import Wrong

WHOLE = """
name = "ipsec-restart-connection"
description = "Take one connection down and up again"
argv = ["/usr/sbin/ipsec", "up", "{connection}", "--port={port}"]
timeout = 10
output = 100
run_as = "nobody"
coalesce = true
cooldown = 0.5
[values]
connection = {pattern = "[a-z0-9-]+"}
port = {integer = [1, 65535]}
[ask]
users = ["root", 33]
groups = [4, "root"]
roles = ["admin"]
tokens = ["0123456789ab"]
networks = ["192.0.2.0/24", "::1/128"]
"""


def test_a_file_says_all_of_an_action():
    action = read(tomllib.loads(WHOLE))

    assert (action.timeout, action.output, action.run_as) == (10, 100, "nobody")
    assert (action.coalesce, action.cooldown) == (True, 0.5)
    assert action.allowed.uids == {0, 33}
    assert action.allowed.gids == {0, 4}
    assert action.rendered({"connection": "berlin", "port": 500}) == (
        "/usr/sbin/ipsec", "up", "berlin", "--port=500",
    )  # fmt: skip


def test_little_is_enough():
    action = read({"name": "a", "argv": ["/usr/bin/true"]})

    assert (action.timeout, action.output, action.rendered({})) == (3.0, 4096, ("/usr/bin/true",))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "../x"}, "name"),
        ({"name": 1}, "name"),
        ({"name": "a\n"}, "name"),
        ({"argv": []}, "argv"),
        ({"argv": "/bin/sh -c id"}, "argv"),
        ({"argv": ["true"]}, "argv"),
        ({"argv": ["{x}"]}, "argv"),
        ({"argv": ["/usr/bin/{x}"], "values": {"x": {"enum": ["true"]}}}, "argv"),
        ({"argv": ["/usr/bin/true", "{x}"]}, "argv"),
        ({"argv": ["/usr/bin/true", "a\0"]}, "argv"),
        ({"values": {"x": {"ip": True}}}, "values.x"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": 601}, "timeout"),
        ({"output": 65_537}, "output"),
        ({"cooldown": -1}, "cooldown"),
        ({"cooldown": float("nan")}, "cooldown"),
        ({"shell": True}, "shell"),
        ({"environment": {}}, "environment"),
        ({"ask": {"users": ["no-such-user"]}}, "ask.users: this host has no user 'no-such-user'"),
        ({"ask": {"groups": ["no-such-group"]}}, "ask.groups: this host has no group 'no-such-group'"),
        ({"ask": {"users": "root"}}, "ask.users"),
        ({"ask": {"everybody": []}}, "ask.everybody"),
        ({"ask": {"roles": ["boss"]}}, "ask.roles: there is no role 'boss'"),
        ({"ask": {"networks": ["192.0.2.1/24"]}}, "ask"),
        ({"ask": {"users": [True]}}, "ask"),
    ],
)
def test_a_file_that_says_something_else_is_refused_by_its_field(change, field):
    with pytest.raises(Wrong, match=f"^{field}"):
        read({"name": "a", "argv": ["/usr/bin/true"], **change})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "'connection' is missing"),
        ({"connection": "a", "port": 1, "argv": "x"}, "there is no value 'argv'"),
        ({"connection": "-x", "port": 1}, "connection must not begin with a hyphen"),
        ({"connection": "a", "port": 0}, "port is a whole number from 1 to 65535"),
    ],
)
def test_values_that_are_not_as_declared_are_refused(values, reason):
    with pytest.raises(Wrong, match=reason):
        read(tomllib.loads(WHOLE)).rendered(values)


def test_a_value_is_put_in_once_and_not_looked_at_again():
    action = read(
        {
            "name": "a",
            "argv": ["/usr/bin/echo", "{x}{y}"],
            "values": {"x": {"pattern": ".*"}, "y": {"pattern": ".*"}},
        }
    )

    assert action.rendered({"x": "{y}", "y": "{x}"})[1] == "{y}{x}"


def test_nobody_but_root_may_ask_by_default():
    assert Allowed().peer(Peer(0, 0, frozenset(), 1))
    assert not Allowed().peer(Peer(33, 0, frozenset({0}), 1))
    assert not Allowed().asker(Asker())


def test_users_groups_roles_tokens_and_networks_say_who_may():
    allowed = read(tomllib.loads(WHOLE)).allowed
    assert allowed.peer(Peer(33, 33, frozenset(), 1))
    assert allowed.peer(Peer(99, 4, frozenset(), 1))
    assert allowed.peer(Peer(99, 99, frozenset({4}), 1))
    assert not allowed.peer(Peer(99, 99, frozenset({99}), 1))
    assert allowed.asker(Asker("admin", "", "192.0.2.7"))
    assert allowed.asker(Asker("viewer", "0123456789ab", "::1"))
    assert not allowed.asker(Asker("operator", "other", "::1"))
    assert not allowed.asker(Asker("admin", "", "198.51.100.1"))
    assert not allowed.asker(Asker("admin", "", "nonsense"))


def test_where_certificates_are_named_one_of_them_has_to_be_shown_besides():
    asks = {"roles": ["admin"], "certificates": ["ops.example"]}
    allowed = read({"name": "a", "argv": ["/usr/bin/true"], "ask": asks}).allowed

    assert allowed.asker(Asker("admin", certificate="ops.example"))
    assert not allowed.asker(Asker("admin"))
    assert not allowed.asker(Asker("admin", certificate="other.example"))
    assert not allowed.asker(Asker("viewer", certificate="ops.example"))
