"""How rootd runs what was asked: all that it says arrives, and nothing is kept of what is over."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

from edgeward.rootd.running import Running
from edgeward.rootd.table import daemons
from edgeward.rootd.table.actions import Action
from edgeward.rootd.table.builtin import actions


async def test_hundreds_of_namespaces_are_told_whole(state_dir: Path, needs) -> None:
    needs("ip")
    names = {f"vpn-{number:012x}" for number in range(700)}
    (state_dir / "namespaces").mkdir(mode=0o755)
    for name in names:
        (state_dir / "namespaces" / name).write_text(daemons._record(os.getpid()))  # as if we held it
    observe = actions(state_dir, [os.getuid()])["observe-networks"]

    came = await Running().outcome(observe, observe.rendered({}))

    assert (came["outcome"], came["exit"], came["truncated"]) == ("done", 0, False)
    assert set(json.loads(came["output"])) == names


async def test_long_values_of_what_is_over_are_not_kept() -> None:
    running, action = Running(), Action("a", "", ())
    tracemalloc.start()
    try:
        for number in range(30):
            argv = ("/usr/bin/true", f"{number:060000}")
            assert (await running.outcome(action, argv))["outcome"] == "done"
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert held < 600_000


async def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    came = await Running().outcome(Action("a", "", ()), ("/usr/bin/dash", "-c", "kill -40 $$"))

    assert (came["outcome"], came["exit"], came["signal"]) == ("done", None, "40")
