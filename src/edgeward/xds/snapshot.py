"""Everything Envoy is to hold at one revision, secrets apart: those are asked for one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgeward.xds.resource import Resource


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Resources by type and name.

    ``pending``: (type, name) of what is not known yet: neither answered nor taken away.
    ``complete``: False where parts of the state could not be read: then nothing is removed.
    """

    revision: int
    resources: Mapping[str, Mapping[str, Resource]]
    pending: frozenset[tuple[str, str]] = frozenset()
    complete: bool = True

    def same(self, other: Snapshot) -> bool:
        """Tell, at once, whether this is the other one under another revision; False where that would have
        to be found out.
        """
        alike = self.pending == other.pending and self.complete == other.complete
        return alike and self.resources is other.resources


def snapshot(
    revision: int,
    resources: Iterable[Resource],
    pending: Iterable[tuple[str, str]] = (),
    complete: bool = True,
) -> Snapshot:
    by_type: dict[str, dict[str, Resource]] = {}
    for resource in resources:
        by_type.setdefault(resource.type_url, {})[resource.name] = resource
    return Snapshot(revision, by_type, frozenset(pending), complete)
