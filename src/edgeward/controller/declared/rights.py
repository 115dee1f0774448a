"""What somebody may see and change of what is declared, with the error that says so."""

from __future__ import annotations

from typing import Final

from edgeward.access.decide import Action, decide_change, enforce
from edgeward.access.model import Principal, Verdict
from edgeward.declaration.model import Key
from edgeward.domain_name import printable
from edgeward.errors import NotFound
from edgeward.kinds import KINDS, privileged, reaching_host
from edgeward.parsing import Value

OF_INSTALLATION: Final = frozenset(("keys", *(kind.name for kind in KINDS.values() if kind.single)))
"""Kinds of what belongs to the whole installation, whichever project it is written under."""


def allow(who: Principal, action: Action, key: Key, value: Value | None = None) -> None:
    """Raise Refused, or NotFound, where ``who`` may not make this change."""
    fields, hosts = (privileged(value), reaching_host(value)) if value is not None else ((), ())
    verdict = decide_change(who, action, key.kind, key.project, fields, hosts)
    if verdict is Verdict.ALLOWED:
        return
    about = f": {', '.join(fields)} may be written by admins only" if fields else ""
    if hosts and (who.role == "admin" or (who.role == "operator" and not fields)):
        about = f": {', '.join(hosts)} reach the edge host itself, which is for admins of every project"
    enforce(verdict, who, f"{action} {key}{about}")


def visible(who: Principal, project: str | None) -> str | None:
    """Give the project to look into, None for all; raises NotFound for one that is not theirs."""
    if project is not None and not who.sees(project):
        raise NotFound(f"there is no project '{printable(project)}'")
    return project if project is not None else who.projects


def shows(who: Principal, key: Key) -> bool:
    return who.sees(key.project) and (who.everywhere or not KINDS[key.kind].single)
