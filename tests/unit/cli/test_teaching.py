"""The help teaches: every command has its place, every example is one that its command takes."""

from __future__ import annotations

import shlex

import pytest
import typer

from edgeward.cli.__main__ import build
from edgeward.cli.teaching import EXAMPLES, GROUPS


@pytest.fixture(scope="module")
def root():
    return typer.main.get_command(build())


def test_every_command_has_one_place(root):
    placed = [name for names in GROUPS.values() for name in names]

    assert sorted(placed) == sorted(root.commands)
    assert root.list_commands(None) == placed


@pytest.mark.parametrize("words", EXAMPLES)
def test_every_example_is_one_that_its_command_takes(root, words):
    command, name = root, ""
    for name in words.split():
        command = command.commands[name]
    assert EXAMPLES[words] in command.epilog

    command.make_context(name, shlex.split(EXAMPLES[words]))
