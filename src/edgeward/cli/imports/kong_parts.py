"""What reading Kong's configuration has in common: lists of maps, names, and notes said once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from edgeward.domain_name import normalise_pattern, printable
from edgeward.errors import Invalid

_SCOPES: Final = ("consumer", "consumer_group", "route", "service")


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


def references(value: object) -> list[str]:
    """Give what something of Kong's is referred to by: its name, its id, or a map that has them."""
    found = [value.get("name"), value.get("id")] if isinstance(value, Mapping) else [value]
    return [str(one) for one in found if one is not None]


class Plugins:
    """The plugins that stand apart from what they are of: a route, a service, or everything."""

    def __init__(self, plugins: Iterable[Mapping[str, Any]], notes: Notes) -> None:
        self.general: list[Mapping[str, Any]] = []
        self._of: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for plugin in plugins:
            kind = next((kind for kind in _SCOPES if plugin.get(kind) is not None), None)
            if kind is None:
                self.general.append(plugin)
            elif kind in ("route", "service"):
                for reference in references(plugin[kind]):
                    self._of.setdefault((kind, reference), []).append(plugin)
            else:
                notes.add(f"the plugin {called(plugin)} of a {kind} is not taken over")

    def of(self, kind: str, one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return [plugin for reference in references(one) for plugin in self._of.get((kind, reference), ())]


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
