"""The types of what a peer may say: each turns a value into text that is one word, and no option, of argv."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

MOST_CHARACTERS = 255
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z)({_LABEL}\.)*{_LABEL}", re.ASCII)

Type = Callable[[str | int], str]
"""Gives the text of a value; raises Wrong."""


class Wrong(Exception):
    """A value, or an action's file, is not what it is to be; the message says what would be right."""


def type_of(spec: object) -> Type:
    """Give the type that a table such as ``{integer = [1, 65535]}`` says; raises Wrong."""
    if not isinstance(spec, Mapping) or len(spec) != 1:
        raise Wrong("give one of enum, integer, pattern, domain and ip")
    ((kind, given),) = spec.items()
    if kind not in _TYPES:
        raise Wrong(f"there is no type {kind!r}; give one of enum, integer, pattern, domain and ip")
    return _TYPES[kind](given)


def _enum(given: Any) -> Type:
    if not isinstance(given, list) or not given or not all(isinstance(g, str) and g for g in given):
        raise Wrong("enum: list the texts it may be")
    allowed = frozenset(given)

    def text(value: str | int) -> str:
        if value not in allowed:
            raise Wrong(f"is one of {', '.join(given)}")
        return str(value)

    return text


def _integer(given: Any) -> Type:
    if not isinstance(given, list) or len(given) != 2 or any(type(g) is not int for g in given):
        raise Wrong("integer: give the least and the greatest, as [1, 65535]")
    least, greatest = given

    def text(value: str | int) -> str:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value, re.ASCII):
            value = int(value)
        if isinstance(value, str) or not least <= value <= greatest:
            raise Wrong(f"is a whole number from {least} to {greatest}")
        return str(value)

    return text


def _pattern(given: Any) -> Type:
    try:
        pattern = re.compile(given, re.ASCII)
    except (TypeError, re.error) as error:
        raise Wrong(f"pattern: {error}") from error

    def text(value: str | int) -> str:
        plain = isinstance(value, str) and value.isascii() and value.isprintable()
        if not plain or not 0 < len(str(value)) <= MOST_CHARACTERS or not pattern.fullmatch(str(value)):
            raise Wrong(f"is to match {given} in full, with at most {MOST_CHARACTERS} printable characters")
        if str(value).startswith("-"):
            raise Wrong("must not begin with a hyphen, or it could be taken for an option")
        return str(value)

    return text


def _domain(given: Any) -> Type:
    _only_true("domain", given)

    def text(value: str | int) -> str:
        name = str(value).lower() if str(value).isascii() else ""
        if isinstance(value, int) or not _DOMAIN.fullmatch(name) or name.rpartition(".")[2].isdigit():
            raise Wrong("is a domain name in ASCII, as shop.example")
        return name

    return text


def _ip(given: Any) -> Type:
    _only_true("ip", given)

    def text(value: str | int) -> str:
        try:
            # a zone may hold anything: ip_address("fe80::1%\nx") succeeds
            if isinstance(value, int) or "%" in value:
                raise ValueError
            return str(ipaddress.ip_address(value))
        except ValueError as error:
            raise Wrong("is an IP address, as 192.0.2.1 or 2001:db8::1") from error

    return text


def _only_true(kind: str, given: object) -> None:
    if given is not True:
        raise Wrong(f"{kind}: it is true, or not there")


_TYPES = {"enum": _enum, "integer": _integer, "pattern": _pattern, "domain": _domain, "ip": _ip}
