"""Converters and checks of single values, with the words that Neutron says of them.

A converter turns what was sent into the value that is kept, or raises Fault; a check gives the reason why a
value is wrong, or None.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from uuid import UUID

from edgeward.api.openstack.faults import invalid_operation

Convert = Callable[[Any], Any]
Check = Callable[[Any], str | None]

_TRUE: Final = frozenset(("true", "t", "yes", "y", "on", "1"))
_FALSE: Final = frozenset(("false", "f", "no", "n", "off", "0"))
_SUBNET: Final = re.compile(r"[0-9A-Fa-f:.]+/[0-9]{1,3}", re.ASCII)
_ADDRESS: Final = re.compile(r"[0-9A-Fa-f:.]+", re.ASCII)
LONGEST: Final = 255


# --- converters ------------------------------------------------------------------------------------


def to_boolean(value: Any) -> bool:
    """As oslo's bool_from_string does, strictly."""
    said = str(value).strip().lower()
    if said in _TRUE or said in _FALSE:
        return said in _TRUE
    raise invalid_operation(f"'{value}' cannot be converted to boolean.")


def to_integer(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise invalid_operation(f"'{value}' is not an integer.") from None


def to_list(value: Any) -> list[Any]:
    """Nothing is an empty list, and one thing is a list of it."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple, dict)) else [value]


def to_mapping(value: Any) -> Any:
    """Nothing is an empty mapping."""
    return {} if value is None else value


# --- checks ----------------------------------------------------------------------------------------


def text(longest: int | None = LONGEST) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return f"'{value}' is not a valid string"
        if longest is not None and len(value) > longest:
            return f"'{value}' exceeds maximum length of {longest}"
        return None

    return check


def one_of(values: Collection[Any]) -> Check:
    known = tuple(values)
    return lambda value: None if value in known else f"{value} is not in valid_values"


def uuid(value: Any) -> str | None:
    """As oslo's is_uuid_like does: without hyphens, in braces and as a URN too."""
    try:
        plain = str(UUID(value)).replace("-", "") == _plain(value)
    except (TypeError, ValueError, AttributeError):
        plain = False
    return None if plain else f"'{value}' is not a valid UUID"


def _plain(value: str) -> str:
    return value.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "").lower()


def or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def non_negative(value: Any) -> str | None:
    number = _number(value)
    if number is None:
        return f"'{value}' is not an integer"
    return None if number >= 0 else f"'{number}' should be non-negative"


def at_least(least: int) -> Check:
    def check(value: Any) -> str | None:
        number = _number(value)
        if number is None:
            return f"'{value}' is not an integer"
        return None if number >= least else f"'{number}' is too small - must be at least '{least}'"

    return check


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def subnet(value: Any) -> str | None:
    """A network in CIDR notation, host bits allowed; of IPv4 in its one spelling."""
    wrong = f"'{value}' is not a valid IP subnet"
    if not isinstance(value, str) or not _SUBNET.fullmatch(value):
        return wrong
    try:
        interface = ipaddress.ip_interface(value)
    except ValueError:
        return wrong
    return wrong if interface.version == 4 and str(interface) != value else None


def address(value: Any) -> str | None:
    wrong = f"'{value}' is not a valid IP address"
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        return wrong
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return wrong
    return None


def list_of(check: Check) -> Check:
    """A list of such values, none of them twice; as long as a body can be."""

    def checked(value: Any) -> str | None:
        if not isinstance(value, list):
            return f"'{value}' is not a list"
        if twice := [item for item, times in Counter(map(str, value)).items() if times > 1]:
            return f"Duplicate items in the list: '{', '.join(twice)}'"
        return next((reason for item in value if (reason := check(item)) is not None), None)

    return checked


def mapping(value: Any) -> str | None:
    return None if isinstance(value, Mapping) else f"'{value}' is not a dictionary"


def members(checks: Mapping[str, Check]) -> Check:
    """A mapping with some of these members and no others."""

    def check(value: Any) -> str | None:
        if (wrong := mapping(value)) is not None:
            return wrong
        if strange := [key for key in value if key not in checks]:
            return f"Unexpected keys supplied: {', '.join(strange)}"
        wrongs = (checks[key](value[key]) for key in checks if key in value)
        return next((reason for reason in wrongs if reason is not None), None)

    return check
