"""Lists as Neutron gives them: filtered by any attribute, cut down, sorted, and in pages with links."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from edgeward.api.openstack.attributes import Resource
from edgeward.api.openstack.checks import to_boolean, to_integer
from edgeward.api.openstack.faults import Fault, bad_request

Body = Mapping[str, Any]
Query = Sequence[tuple[str, str]]
Build = Callable[[str], Body]
"""Gives the body of an id."""
_OURS: Final = frozenset(("fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse"))
_WRONG_LIMIT: Final = "Bad limit request: Limit must be an integer 0 or greater and not '{}'."


@dataclass(frozen=True)
class Asked:
    """What a query asks for. ``limit`` None: everything."""

    filters: Mapping[str, Sequence[Any]]
    fields: frozenset[str]
    sorting: Sequence[tuple[str, bool]]
    """Keys, each with whether the greatest comes first."""
    limit: int | None
    marker: str | None
    reverse: bool

    @property
    def by_id(self) -> bool:
        """Whether it is a page of everything, in the order of ids."""
        return self.limit is not None and not self.filters and not self.sorting


def asked(query: Query, resource: Resource) -> Asked:
    """Read a query; raises Fault. What it filters by and nobody knows is passed over."""
    limits = _all(query, "limit")
    return Asked(
        filters=_filters(query, resource),
        fields=frozenset(field for field in _all(query, "fields") if field),
        sorting=_sorting(_all(query, "sort_key"), _all(query, "sort_dir"), resource),
        limit=_limit(limits[-1]) if limits else None,
        marker=next(iter(_all(query, "marker")), None),
        reverse=next(iter(_all(query, "page_reverse")), "").lower() in ("true", "1"),
    )


def page(what: Asked, ids: Sequence[str], build: Build, absent: Callable[[str], Fault]) -> list[Body]:
    """Give the bodies of a page, those of ``ids`` only.

    ``absent`` gives the error for a marker that is not there.
    """
    if what.by_id:
        return [build(one) for one in cut(what, sorted(ids), absent)]
    if what.limit is None and not what.filters and not what.sorting:
        return [build(one) for one in ids]
    found = {one: body for one in ids if _fits(body := build(one), what.filters)}
    if what.limit is None and not what.sorting:
        return list(found.values())
    placed = dict(found)
    if what.marker is not None and what.marker in ids:
        placed.setdefault(what.marker, build(what.marker))  # it has its place also where it fits no more
    ordered = sorted(placed)
    for key, descending in reversed(what.sorting):
        ordered.sort(key=lambda one: _comparable(placed[one].get(key)), reverse=descending)
    if what.limit is not None:
        ordered = list(cut(what, ordered, absent))
    return [found[one] for one in ordered if one in found]


def links(what: Asked, bodies: Sequence[Body], query: Query, url: str) -> list[dict[str, str]]:
    """Give the links to the next page and the one before, as Neutron does."""
    if what.limit is None:
        return []
    full, found = len(bodies) >= what.limit, []
    kept = [(key, value) for key, value in query if key not in ("marker", "page_reverse")]
    if full or what.reverse:
        found.append({"rel": "next", "href": _link(url, kept, bodies[-1:])})
    if full or not what.reverse:
        href = _link(url, kept, bodies[:1], ("page_reverse", "True"))
        found.append({"rel": "previous", "href": href})
    return found


def cut_down(body: Body, fields: frozenset[str]) -> Body:
    """Give the fields that are asked for."""
    return {key: value for key, value in body.items() if key in fields} if fields else body


def _all(query: Query, name: str) -> list[str]:
    return [value for key, value in query if key == name]


def _filters(query: Query, resource: Resource) -> dict[str, list[Any]]:
    known = {attribute.name: attribute for attribute in resource.attributes}
    found: dict[str, list[Any]] = {}
    for key, value in query:
        attribute = known.get(key)
        if key in _OURS or attribute is None or value == "":
            continue
        convert = attribute.convert if attribute.convert in (to_boolean, to_integer) else None
        found.setdefault(key, []).append(value if convert is None else convert(value))
    return found


def _sorting(keys: Sequence[str], directions: Sequence[str], resource: Resource) -> list[tuple[str, bool]]:
    if len(keys) != len(directions):
        raise bad_request("The number of sort_keys and sort_dirs must be same")
    if strange := [key for key in dict.fromkeys(keys) if key not in resource.sort_keys]:
        raise bad_request(f"{strange} is invalid attribute for sort_keys")
    if wrong := [direction for direction in directions if direction not in ("asc", "desc")]:
        raise bad_request(f"{wrong} is invalid value for sort_dirs, valid value is 'asc' and 'desc'")
    return [(key, direction == "desc") for key, direction in zip(keys, directions, strict=True)]


def _limit(text: str) -> int | None:
    try:
        limit = int(text)
    except ValueError:
        limit = -1
    if limit < 0:
        raise Fault(400, "BadRequest", _WRONG_LIMIT.format(text))
    return limit or None


def cut(what: Asked, ordered: Sequence[str], absent: Callable[[str], Fault]) -> Sequence[str]:
    """Give the page behind the marker, or before it where the list is read backwards."""
    start, end = 0, len(ordered)
    if what.marker is not None:
        try:
            at = ordered.index(what.marker)
        except ValueError:
            raise absent(what.marker) from None
        start, end = (start, at) if what.reverse else (at + 1, end)
    if what.limit is None:
        return ordered[start:end]
    return (
        ordered[max(start, end - what.limit) : end] if what.reverse else ordered[start : start + what.limit]
    )


def _fits(body: Body, filters: Mapping[str, Sequence[Any]]) -> bool:
    return all(body.get(key) in values for key, values in filters.items())


def _comparable(value: Any) -> tuple[bool, str]:
    return value is not None, str(value)


def _link(url: str, kept: Query, marked: Sequence[Body], *more: tuple[str, str]) -> str:
    marker = [("marker", str(body["id"])) for body in marked if "id" in body]
    return f"{url}?{urlencode([*kept, *marker, *more])}"
