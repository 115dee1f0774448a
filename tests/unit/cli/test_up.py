"""What `edgeward node` hands on."""

from __future__ import annotations

import pytest

from edgeward.cli.up import without_token


@pytest.mark.parametrize("said", [["--join", "ew_x"], ["--join=ew_x"]])
def test_a_join_token_does_not_stay_on_the_command_line(said: list[str]) -> None:
    kept, environment = without_token(["--name", "n", *said, "--state-dir", "d"])

    assert kept == ["--name", "n", "--state-dir", "d"]
    assert environment == {"EDGEWARD_JOIN": "ew_x"}


def test_other_arguments_stay_as_they_are() -> None:
    assert without_token(["--name", "--joiner", "--controller=x"]) == (
        ["--name", "--joiner", "--controller=x"],
        {},
    )
