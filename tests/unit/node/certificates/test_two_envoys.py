"""Two Envoys at one node, while one takes over from the other."""

from __future__ import annotations

import pytest

from edgeward.node.certificates.answering import Answering
from edgeward.node.certificates.listener_secrets import Lasting
from edgeward.node.certificates.tiers import Tiers
from edgeward.node.sealed_copy.last_good import LastGood
from edgeward.node.state import State
from edgeward.xds.server import Connection


@pytest.fixture
def answering(copy: LastGood) -> Answering:
    async def fetch(name: str, timeout: float) -> object:
        raise AssertionError

    state = State()
    lasting = Lasting(state, lambda name: None)
    return Answering(state, Tiers(copy), fetch, lambda kept: None, lambda: None, lasting)  # type: ignore[arg-type]


class Envoy(Connection):
    """A stream whose state machine has come so far as the test says."""

    def __init__(self, answering: Answering, generation: int) -> None:
        super().__init__()
        self.delta.generation = generation
        self._answering = answering
        answering.opened(self)

    def arrive(self, revision: int) -> None:
        self.revision = revision
        self._answering.settled(self)

    def leave(self) -> None:
        self._answering.closed(self)


def test_the_new_one_decides_once_it_has_everything(answering: Answering) -> None:
    old = Envoy(answering, 1)
    assert answering.serving is None
    old.arrive(7)
    new = Envoy(answering, 2)
    assert answering.serving is old

    new.arrive(7)
    assert answering.serving is new
    old.arrive(8)
    assert answering.serving is new
    old.leave()
    assert answering.serving is new


def test_one_that_never_gets_so_far_changes_nothing(answering: Answering) -> None:
    old = Envoy(answering, 1)
    old.arrive(7)
    Envoy(answering, 2).leave()

    assert answering.serving is old


def test_one_that_only_drains_does_not_count_when_its_heir_dies(answering: Answering) -> None:
    old, new = Envoy(answering, 1), Envoy(answering, 2)
    old.arrive(7)
    new.arrive(7)
    new.leave()
    assert answering.serving is None

    third = Envoy(answering, 3)
    third.arrive(7)
    assert answering.serving is third


def test_of_two_streams_of_one_envoy_the_newer_counts(answering: Answering) -> None:
    broken, again = Envoy(answering, 1), Envoy(answering, 1)
    broken.arrive(7)
    assert answering.serving is None
    again.arrive(7)

    assert answering.serving is again


def test_what_is_told_is_what_the_one_holds_that_visitors_come_to(answering: Answering) -> None:
    old, new = Envoy(answering, 1), Envoy(answering, 2)
    old.arrive(7)

    assert answering.residents is answering.residency.of(old)
    new.arrive(7)
    assert answering.residents is answering.residency.of(new)
