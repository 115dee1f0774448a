"""The actions that rootd brings along, for the node; as typed as those of the operators."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeward.rootd.table.actions import Action, Allowed
from edgeward.rootd.table.placeholders import type_of

_HANDS = str(Path(__file__).resolve().with_name("hands.py"))
_PYTHON = os.path.realpath(sys.executable)
_SECONDS = 15.0
_ID = {"pattern": "[a-z0-9][a-z0-9-]{0,31}"}


def actions(place: Path, faces: frozenset[int]) -> Mapping[str, Action]:
    """Give them by name. ``place``: where their records are; ``faces``: the uids that may ask."""
    allowed = Allowed(uids=faces)

    def made(name: str, description: str, specs: Mapping[str, Mapping[str, Any]]) -> Action:
        words = (_PYTHON, "-I", "-S", _HANDS, name, str(place), *(f"{{{value}}}" for value in specs))
        types = {value: type_of(spec) for value, spec in specs.items()}
        return Action(name, description, words, types, specs, allowed, timeout=_SECONDS)

    found = (
        made("create-namespace", "Make a network namespace, its loopback up", {"namespace": _ID}),
        made("remove-namespace", "End a network namespace of ours", {"namespace": _ID}),
    )
    return {action.name: action for action in found}
