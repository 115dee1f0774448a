"""The steps of a way: how each is, since when, and of a broken one why and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "broken", "unknown"]


@dataclass(frozen=True)
class Step:
    """``subject`` is what it is about (``routes/default/shop``), ``detail`` how that is in a few words.

    ``since``: since when it is so, in Unix seconds, where that is known. A broken one has ``cause`` and
    ``remedy``, a sentence each.
    """

    step: str
    subject: str
    state: State = "ok"
    detail: str = ""
    since: float | None = None
    cause: str = ""
    remedy: str = ""


def broken(step: str, subject: str, cause: str, remedy: str, since: float | None = None) -> Step:
    return Step(step, subject, "broken", "", since, cause, remedy)


def walked(way: Iterable[Step]) -> tuple[Step, ...]:
    """Go a way as far as it leads: the first broken step is the last."""
    found = []
    for step in way:
        found.append(step)
        if step.state == "broken":
            break
    return tuple(found)


def in_the_way(steps: Sequence[Step]) -> Step | None:
    """Give the broken step of a way that was walked."""
    return steps[-1] if steps and steps[-1].state == "broken" else None


def shown(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [asdict(step) for step in steps]


def verdict(asked: str, kind: str, steps: Sequence[Step]) -> dict[str, Any]:
    """Give what is said of anything that has a way: whether all is well, else why not and what to do."""
    obstacle = in_the_way(steps)
    return {
        "asked": asked,
        "kind": kind,
        "well": obstacle is None,
        "reason": obstacle.cause if obstacle else None,
        "remedy": obstacle.remedy if obstacle else None,
        "steps": shown(steps),
    }
