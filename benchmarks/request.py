"""Server CPU of a proxied HTTPS request on keep-alive connections, HTTP/1.1, small body."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

from benchmarks.peers import Contender, program
from benchmarks.rounds import by_turns
from benchmarks.table import NOT_INSTALLED, Goal, Row, ratio_goals

WHAT = "proxied keep-alive request, CPU"
_LIMITS = (("Caddy", 0.65), ("bare Envoy", 1.15))
_CONNECTIONS = 16


def measure(contenders: Sequence[Contender], missing: Sequence[str], rounds: int, count: int) -> list[Row]:
    for needed, package in (("h2load", "nghttp2-client"), ("nginx", "nginx-light")):
        if program(needed) is None:
            return [Row(WHAT, needed, NOT_INSTALLED, note=f"needed for it: apt install {package}")]

    def drive(contender: Contender, warming: bool) -> int:
        return _requests(contender, 1000 if warming else count)

    costs = by_turns(contenders, rounds, drive)
    figures = {label: c.median for label, c in costs.items()}
    return [
        *(Row(WHAT, label, NOT_INSTALLED) for label in missing),
        *(
            Row(WHAT, label, c.median, "µs", c.note, _goals(label, figures))
            for label, c in costs.items()
        ),
    ]  # fmt: skip


def _goals(label: str, figures: dict[str, float]) -> tuple[Goal, ...]:
    return ratio_goals(figures[label], _LIMITS, figures) if label == "Edgeward" else ()


def _requests(contender: Contender, count: int) -> int:
    """Have h2load make them; raises RuntimeError where one was not answered with 2xx."""
    argv = [
        program("h2load") or "h2load", "--h1", f"-n{count}", f"-c{_CONNECTIONS}", "-t1",
        f"--connect-to=127.0.0.1:{contender.port}", f"https://{contender.name}/",
    ]  # fmt: skip
    output = subprocess.run(argv, capture_output=True, text=True, timeout=120).stdout
    found = re.search(r"status codes: (\d+) 2xx", output)
    if found is None or int(found[1]) != count:
        raise RuntimeError(f"{contender.label}: not every request was answered with 200:\n{output[-800:]}")
    return count
