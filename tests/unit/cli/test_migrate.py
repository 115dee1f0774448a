"""What a migration cost is what its node says, once the tunnel is up by the other daemon."""

from __future__ import annotations

import importlib
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


COST = {"at": 1795309049.9, "seconds": 0.214, "dropped": 2, "carried": True}


def said(
    phase: str, driver: str, spi: str = "", refusal: str = "", cost: dict[str, Any] | None = None
) -> dict[str, Any]:
    children = [{"spi_in": spi, "packets_in": 3, "packets_out": 4}] if spi else []
    return {
        "id": "1", "project": "default", "name": "berlin", "phase": phase, "handover": cost,
        "gateway": {"driver": driver, "reason": refusal}, "children": children, "reason": "it says why",
    }  # fmt: skip


def test_it_is_waited_for_until_the_new_tunnel_is_there_and_its_cost_is_known() -> None:
    before = {**COST, "at": 1.0}
    old = said("active", "strongswan", "aa", cost=before)
    client: Any = Answers(said("active", "libreswan", "aa", cost=before), said("down", "libreswan"),
                          said("active", "libreswan", "bb", cost=before),
                          said("active", "libreswan", "bb", cost=COST))  # fmt: skip
    assert migrate._taken_over(client, old, "libreswan", 10) == COST


def test_a_node_that_does_not_say_what_it_cost_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(migrate, "_LOOK_SECONDS", 0.001)
    client: Any = Answers(said("active", "libreswan", "bb"))
    assert migrate._taken_over(client, said("active", "strongswan", "aa"), "libreswan", 0.05) is None


def test_the_old_tunnel_is_not_taken_for_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_LOOK_SECONDS", 0.001)
    client: Any = Answers(said("active", "libreswan", "aa"))
    with pytest.raises(Unavailable, match="it says why"):
        migrate._taken_over(client, said("active", "strongswan", "aa"), "libreswan", 0.05)


def test_a_daemon_that_cannot_take_over_is_not_waited_for() -> None:
    refusal = "libreswan cannot take over, all stays as it is: it is not installed"
    client: Any = Answers(said("active", "libreswan", "aa", refusal=refusal))
    with pytest.raises(Unavailable, match="it is not installed"):
        migrate._taken_over(client, said("active", "strongswan", "aa"), "libreswan", 60)


def test_the_cost_is_said_in_words() -> None:
    words = "the former keys carried it until then, 0.21 s; 2 packets were dropped here"
    assert migrate._said(COST) == words
    assert "no packets were dropped here" in migrate._said({**COST, "dropped": 0})
    assert "there was no tunnel for 0.21 s" in migrate._said({**COST, "carried": False})


class Declared(Answers):
    """One that has a site, and writes down with which driver it was declared and at which revision."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        super().__init__(*answers)
        self.posts: list[tuple[str | None, int | None]] = []

    def __enter__(self) -> Declared:
        return self

    def __exit__(self, *_: object) -> None: ...

    def items(self, *_: object) -> list[dict[str, Any]]:
        return [{"name": "berlin", "project": "default", "source": "file:a.yaml", "value": {"peer": "x"}}]

    def post(self, _path: str, body: dict[str, Any], match: int | None = None) -> dict[str, Any]:
        self.posts.append((body["document"]["vpn"][0].get("driver"), match))
        return {"revision": 40 + len(self.posts)}


def migrated(monkeypatch: pytest.MonkeyPatch, client: Declared) -> None:
    monkeypatch.setattr(migrate, "connect", lambda *_: client)
    monkeypatch.setattr(migrate, "_LOOK_SECONDS", 0.001)
    migrate.migrate("berlin", migrate.Driver.libreswan, timeout=30.0)


def test_a_refusal_before_anything_ended_puts_the_declaration_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = "libreswan cannot take over, all stays as it is: it is not installed"
    client = Declared(said("active", "strongswan", "aa"), said("active", "libreswan", "aa", refusal=refusal))
    with pytest.raises(Unavailable, match=r"not installed; it is declared as before again$"):
        migrated(monkeypatch, client)

    assert client.posts == [("libreswan", None), (None, 41)]
    out = capsys.readouterr().out.splitlines()
    assert out == ["~ default/berlin: driver libreswan", "~ default/berlin: driver strongswan again"]


def test_what_goes_back_after_it_was_tried_is_left_declared_and_how_to_undo_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusal = "libreswan cannot take over, all goes back to strongswan: it was late"
    client = Declared(said("active", "strongswan", "aa"), said("active", "libreswan", "aa", refusal=refusal))
    with pytest.raises(Unavailable, match=r"declared with driver libreswan now; to go back: .* strongswan$"):
        migrated(monkeypatch, client)

    assert client.posts == [("libreswan", None)]


def test_the_file_is_spoken_of_once_it_has_worked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated(
        monkeypatch,
        Declared(said("active", "strongswan", "aa"), said("active", "libreswan", "bb", cost=COST)),
    )

    last, spoken = capsys.readouterr().out.splitlines()[-2:]
    assert "is up by libreswan" in last and spoken.startswith("say the same in a.yaml")
