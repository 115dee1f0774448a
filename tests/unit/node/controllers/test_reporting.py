"""Answers to questions: whatever the controller says to them, the node goes on."""

from __future__ import annotations

import pytest

from edgeward.declaration.feed import Answer, Ask
from edgeward.errors import EdgewardError, Invalid, NotFound, Refused, Unavailable
from edgeward.node.controllers.reporting import Reporting


@pytest.mark.parametrize(
    "error", [Unavailable("away"), Refused("revoked"), NotFound("gone"), Invalid("what?")]
)
async def test_an_answer_that_is_not_taken_is_let_go(error: EdgewardError) -> None:
    sent: list[Answer] = []

    async def send(answer: Answer) -> None:
        sent.append(answer)
        raise error

    reporting = Reporting.__new__(Reporting)  # of what is no name nothing needs to be looked up
    await reporting.answer(Ask(id="1", name="no name"), 0.0, send)

    assert sent == [Answer(id="1", tier="none")]
