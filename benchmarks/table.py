"""Rows of the result, the goals they are held against, and how they are printed and written."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

NOT_INSTALLED = "not installed"
FAILED = "failed"


@dataclass(frozen=True)
class Goal:
    """``value`` should be at most ``most``; ``of`` says what it is a ratio to, if it is one."""

    value: float
    most: float
    of: str = ""

    @property
    def met(self) -> bool:
        return self.value <= self.most

    def __str__(self) -> str:
        found = f"{self.value:.2f} × {self.of}" if self.of else ""
        verdict = "met" if self.met else "MISSED"
        return f"{found} (≤ {self.most:g}{' ×' if self.of else ''}) {verdict}".strip()


@dataclass(frozen=True)
class Row:
    """One figure of one server, or why there is none."""

    what: str
    who: str
    figure: float | str
    unit: str = ""
    note: str = ""
    goals: tuple[Goal, ...] = ()

    @property
    def shown(self) -> str:
        if isinstance(self.figure, str):
            return self.figure
        digits = 0 if self.unit == "" else 2 if self.figure < 10 else 1
        return f"{self.figure:,.{digits}f} {self.unit}".strip()


def ratio_goals(
    own: float, limits: Iterable[tuple[str, float]], figures: dict[str, float]
) -> tuple[Goal, ...]:
    """Give a goal for each peer that ran."""
    return tuple(Goal(own / figures[peer], most, peer) for peer, most in limits if peer in figures)


def printed(rows: Sequence[Row]) -> str:
    """Give the table as text; what a row measures is said once."""
    lines: list[tuple[str, str, str, str]] = [("measured", "server", "figure", "goals and notes")]
    last = ""
    for row in rows:
        remarks = "; ".join([*map(str, row.goals), *([row.note] if row.note else [])])
        lines.append(("" if row.what == last else row.what, row.who, row.shown, remarks))
        last = row.what
    widths = [max(len(line[i]) for line in lines) for i in range(3)]
    text: list[str] = []
    for what, who, shown, remarks in lines:
        if what and text:
            text.append("")
        text.append(f"{what:<{widths[0]}}  {who:<{widths[1]}}  {shown:>{widths[2]}}  {remarks}".rstrip())
    return "\n".join(text)


def write(path: Path, rows: Sequence[Row], seconds: float, load: float, versions: dict[str, str]) -> None:
    """Write all as JSON, with the machine it was measured on and its load before."""
    content: dict[str, Any] = {
        "machine": {
            "cpus": os.cpu_count(),
            "load_before": round(load, 2),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "versions": versions,
        "seconds": round(seconds, 1),
        "rows": [{**asdict(r), "goals": [{**asdict(g), "met": g.met} for g in r.goals]} for r in rows],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
