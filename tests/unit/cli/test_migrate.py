"""What a migration costs is counted from the last that was seen of the old tunnel to the first of the new one."""

from __future__ import annotations

import importlib
import time
from typing import Any

import pytest

from edgeward.errors import Unavailable

migrate: Any = importlib.import_module(
    "edgeward.cli.vpn.migrate"
)  # the package has the command under this name


class Answers:
    """A client whose answers about a tunnel are these, the last for ever."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)

    def get(self, path: str, *_: object, **__: object) -> dict[str, Any]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def said(phase: str, driver: str, spi: str = "", since: float = 0.0, refusal: str = "") -> dict[str, Any]:
    children = [{"spi_in": spi, "packets_in": 3, "packets_out": 4}] if spi else []
    return {
        "id": "1", "project": "default", "name": "berlin", "phase": phase, 
        "gateway": {"driver": driver, "reason": refusal}, "children": children, "since": since, "reason": "it says why",
    }  # fmt: skip


def test_it_is_counted_until_the_new_tunnel_is_there() -> None:
    now, old = time.time(), said("active", "strongswan", "aa")
    client: Any = Answers(said("active", "libreswan", "aa"), said("down", "libreswan"),
                          said("active", "libreswan", "bb", now + 0.02))  # fmt: skip
    gone = migrate._taken_over(client, old, "libreswan", now - 5, 10)
    assert 0 <= gone < 5


def test_the_old_tunnel_is_not_taken_for_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_LOOK_SECONDS", 0.001)
    client: Any = Answers(said("active", "libreswan", "aa"))
    with pytest.raises(Unavailable, match="it says why"):
        migrate._taken_over(client, said("active", "strongswan", "aa"), "libreswan", time.time(), 0.05)


def test_a_daemon_that_cannot_take_over_is_not_waited_for() -> None:
    refusal = "libreswan cannot take over, all stays as it is: it is not installed"
    client: Any = Answers(said("active", "libreswan", "aa", refusal=refusal))
    with pytest.raises(Unavailable, match="it is not installed"):
        migrate._taken_over(client, said("active", "strongswan", "aa"), "libreswan", time.time(), 60)


def test_the_cost_is_said_in_words() -> None:
    assert (
        migrate._cost(0.5, 40.0)
        == "at most 0.50 s without a tunnel, about 20 packets were lost at 40 a second"
    )
    assert "no packets were passing" in migrate._cost(0.5, 0.0)
