"""What reading Kong's configuration has in common: lists of maps, names, and notes said once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edgeward.domain_name import normalise_pattern, printable
from edgeward.errors import Invalid


class Notes(list[str]):
    """What was not taken over, each said once."""

    def add(self, note: str) -> None:
        if note not in self:
            self.append(note)


def items(data: Mapping[str, Any], section: str) -> list[Mapping[str, Any]]:
    """Give the maps in a list; raises Invalid where there is something else."""
    found = data.get(section) or []
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise Invalid(f"{section}: Kong has a list of maps there")
    return found


def called(one: Mapping[str, Any]) -> str:
    return printable(str(one.get("name") or one.get("id") or "without a name"))


def named(text: object) -> str:
    """Give a name of Kong's as one of ours."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", str(text)).strip("._-")[:100] or "unnamed"


def pattern(text: str) -> str | None:
    """Give a host of Kong's, without its port; None where we have no such pattern."""
    try:
        return normalise_pattern(text.partition(":")[0])
    except Invalid:
        return None


def seconds(milliseconds: object) -> float:
    return float(str(milliseconds)) / 1000
