"""Bodies of requests, read by tables of attributes in the order in which Neutron looks at them.

JSON, the shape of the body, whose it is, attributes nobody knows, attributes that are missing or not to be
given, then every value in the order of the table: converted, and checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from edgeward.api.openstack.checks import Check, Convert
from edgeward.api.openstack.faults import bad_request, invalid_attribute, malformed

REQUIRED: Final = object()
"""The default of an attribute that has none."""
_OWNERS: Final = ("project_id", "tenant_id")


@dataclass(frozen=True)
class Attribute:
    """One attribute of a resource; one that may be neither posted nor put is only read."""

    name: str
    post: bool = True
    put: bool = True
    default: Any = REQUIRED
    convert: Convert | None = None
    checks: Sequence[Check] = ()


@dataclass(frozen=True)
class Resource:
    """A kind of resource: its names in bodies and in paths, and its attributes in Neutron's order.

    ``kind`` is what it is declared as.
    """

    singular: str
    plural: str
    path: str
    attributes: Sequence[Attribute]
    sort_keys: frozenset[str] = frozenset(("id", "tenant_id", "project_id", "name"))

    @property
    def kind(self) -> str:
        return self.plural

    @property
    def names(self) -> Sequence[str]:
        return tuple(attribute.name for attribute in self.attributes)


@dataclass(frozen=True)
class Asker:
    """For whom a body is read: their project, and whether they may make things for others."""

    project: str
    everywhere: bool


def read(data: bytes, resource: Resource, verb: Literal["post", "put"], asker: Asker) -> dict[str, Any]:
    """Give the values of a request's body, defaults filled in where something is made; raises Fault."""
    values = inner(data, resource.singular)
    _own(values, asker, verb)
    known = set(resource.names)
    if strange := [str(name) for name in values if name not in known]:
        raise bad_request(f"Unrecognized attribute(s) '{', '.join(strange)}'")
    values = _filled(values, resource) if verb == "post" else _changed(values, resource)
    return _checked(values, resource)


def inner(data: bytes, singular: str) -> dict[str, Any]:
    """Give what a body says of one thing; raises Fault."""
    body = loaded(data)
    if not body:
        raise bad_request("Resource body required")
    if not isinstance(body, Mapping) or singular not in body:
        raise bad_request(f"Unable to find '{singular}' in request body")
    values = body[singular]
    if not isinstance(values, Mapping):
        raise bad_request(f"Object '{singular}' contains invalid data")
    return dict(values)


def loaded(data: bytes) -> Any:
    """Give a body's JSON, None of an empty one; raises Fault."""
    try:
        return json.loads(data) if data.strip() else None
    except (ValueError, RecursionError):
        raise malformed() from None


def _own(values: dict[str, Any], asker: Asker, verb: str) -> None:
    """Have both names of a project say the same."""
    said = [values[name] for name in _OWNERS if name in values]
    if not said and verb == "put":
        return
    if len(said) > 1 and said[0] != said[1]:
        raise bad_request("'project_id' and 'tenant_id' do not match")
    project = said[0] if said else asker.project
    if said and project != asker.project and not asker.everywhere:
        raise bad_request(
            "Specifying 'project_id' other than the authenticated project in request is not allowed"
            " for the current user."
        )
    values.update(dict.fromkeys(_OWNERS, project))


def _filled(values: Mapping[str, Any], resource: Resource) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for attribute in resource.attributes:
        name = attribute.name
        if not attribute.post:
            if name in values:
                raise bad_request(f"Attribute '{name}' not allowed in POST")
            continue
        if name not in values and attribute.default is REQUIRED:
            raise bad_request(f"Failed to parse request. Required attribute '{name}' not specified")
        filled[name] = values.get(name, attribute.default)
    return filled


def _changed(values: Mapping[str, Any], resource: Resource) -> dict[str, Any]:
    for attribute in resource.attributes:
        if attribute.name in values and not attribute.put:
            raise bad_request(f"Cannot update read-only attribute {attribute.name}")
    return dict(values)


def _checked(values: dict[str, Any], resource: Resource) -> dict[str, Any]:
    for attribute in resource.attributes:
        if attribute.name not in values:
            continue
        value = values[attribute.name]
        if attribute.convert is not None:
            value = attribute.convert(value)
        for check in attribute.checks:
            if (reason := check(value)) is not None:
                raise invalid_attribute(attribute.name, reason)
        values[attribute.name] = value
    return values
