"""What a node answers to a question of another controller: passed on, whatever it is made of."""

from __future__ import annotations

import asyncio
import json

import pytest

from edgeward.controller.nodes.questions import Questions
from edgeward.controller.nodes.registry import Registry
from edgeward.database.engine import open_database
from edgeward.declaration.feed import Answer, Run
from tests.patience import PATIENCE


@pytest.mark.parametrize(
    "came",
    [
        {"outcome": "done", "lines": 5},
        {"outcome": "done", "lines": {"a": "b"}},
        {"outcome": "done", "lines": ["\ud800" * 9000]},
        {"outcome": "done", "output": "\ud800" * 9000},
        {"outcome": "\ud800"},
        {"outcome": "done", "output": 5},
    ],
    ids=["no list of lines", "a mapping", "half characters in lines", "in output", "elsewhere", "no text"],
)
async def test_a_node_that_answers_nonsense_harms_no_controller(tmp_path, came):
    database = open_database(f"sqlite:///{tmp_path}/unused.db")
    registry = Registry(lambda: 1.0)
    questions = Questions(database, registry)
    stream = await registry.begin("n1", "token")
    working = asyncio.create_task(questions.run())
    run = Run(id="", action="look", values={}, asker={}).model_dump_json()

    async with asyncio.timeout(10 * PATIENCE):
        for _ in range(2):  # the second shows that somebody works still
            await database.heard("ask", json.dumps({"id": "1", "node": "n1", "run": run}))
            asked = await stream.questions.get()
            assert registry.answered("n1", Answer(id=asked.id, tier="none", run=came))
            for _ in range(50):
                await asyncio.sleep(0)

    assert not working.done()
    working.cancel()
    await asyncio.wait({working})
    await database.close()
