"""The connections that are declared, found by id, by name and in order, however many there are."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from edgeward.vpn.desired import Gateway
from edgeward.vpn.status import Site, sites

Place = tuple[str, ...]


class KnownSites:
    """``gateways`` gives all that are declared now; what stands here is made anew where these are others."""

    def __init__(self) -> None:
        self.gateways: Callable[[], Iterable[Gateway]] = tuple
        self._of: Sequence[Gateway] = ()
        self._found = _Index(())

    def by_id(self) -> Mapping[str, Site]:
        return self._now().by_id

    def all(self) -> Sequence[Site]:
        """Give them by project, name and id."""
        return self._now().ordered

    def behind(self, after: Place | None, limit: int, project: str | None) -> Sequence[Site]:
        """Give the next ones of a project (None: of all) behind a place."""
        found = self._now()
        first = (project,) if project is not None and (after is None or after < (project,)) else after
        start = 0 if first is None else bisect_right(found.places, first)
        some = found.ordered[start : start + limit]
        return some if project is None else [site for site in some if site.project == project]

    def named(self, name: str) -> Sequence[Site]:
        """Give those that have this as their id, their name, or their name with the project before it."""
        found = self._now()
        one = found.by_id.get(name)
        return [one] if one is not None else found.by_name.get(name, ())

    def _now(self) -> _Index:
        gateways = list(self.gateways())
        same = len(gateways) == len(self._of) and all(a is b for a, b in zip(gateways, self._of, strict=True))
        if not same:
            self._found, self._of = _Index(gateways), gateways
        return self._found


def place(site: Site) -> Place:
    return site.project, site.name, site.connection.id


class _Index:
    def __init__(self, gateways: Iterable[Gateway]) -> None:
        self.ordered: Final = sorted(sites(gateways), key=place)
        self.places: Final = [place(site) for site in self.ordered]
        self.by_id: Final = {site.connection.id: site for site in self.ordered}
        self.by_name: Final[dict[str, list[Site]]] = defaultdict(list)
        for site in self.ordered:
            self.by_name[site.name].append(site)
            self.by_name[site.connection.name].append(site)
