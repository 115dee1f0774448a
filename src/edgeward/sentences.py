"""What pydantic finds wrong, as one sentence that says what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel

_SHAPES: Final = {
    "[A-Za-z0-9._-]{0,63}": "a namespace has 1 to 64 letters, digits, dots, hyphens and underscores",
    "[A-Za-z0-9._-]{1,253}": "a key's name has 1 to 253 letters, digits, dots, hyphens and underscores",
    "[A-Za-z0-9._-]": "a name has 1 to 100 letters, digits, dots, hyphens and underscores",
    "^https://": "write a URL as https://HOST/PATH",
    "^https?://": "write a URL as http://HOST:PORT/PATH or https://HOST/PATH",
    "^[^@": "write an address as name@example.com",
    "[A-Za-z0-9_-]{0,99}": "write a namespace in 1 to 100 letters, digits, hyphens and underscores",
    "[A-Za-z0-9_.-]{0,14}": "write a bridge in 1 to 15 letters, digits, dots, hyphens and underscores",
    "[A-Za-z0-9.-]{1,253}": "write a host's name as shop.example",
    "^[^:": "write a user's name, which has no colon",
    "[1-5][0-9]{2}": "write a status as 200, or a range as 200-399",
    "^/[!-~]": "write a path as /health, without blanks",
    "^/[^": "write a whole path as /var/log/access.log",
    "^[!#$%&": "write a cookie's name as side: 1 to 128 letters, digits, hyphens and the like",
    "[a-z0-9_]{0,63}": "write it as dns-lexicon does: 1 to 64 small letters, digits and underscores",
    "[a-z0-9]{0,39}": "write it as dns-lexicon does: 1 to 40 small letters and digits",
    "[a-z0-9-]{0,62}": "an action's name has 1 to 63 small letters, digits and hyphens",
    "[0-9a-f]{16}": "write the id as it was given: 16 hexadecimal digits",
    "[0-9a-f]{64}": "write a SHA-256 as 64 hexadecimal digits",
    "^(api|": "write api, openstack or file:NAME",
    r"\x7f/]": "write a name without slashes and control characters",
    r"\x7f]": "write a text without control characters",
    "^[^/~": "write a text of one line that is no path: it does not begin with / or ~",
    "^/": "write a path, which begins with /",
}
"""What is in a pattern, and how to write what it matches."""
_TYPES: Final = {
    "string": "write a text here",
    "int": "write a whole number",
    "float": "write a number",
    "finite_number": "write a number",
    "decimal": "write a number",
    "bool": "write true or false",
    "tuple": "give a list here",
    "list": "give a list here",
    "set": "give a list here",
    "frozen_set": "give a list here",
    "dict": "give a mapping of fields here",
    "mapping": "give a mapping of fields here",
    "model": "give a mapping of fields here",
    "model_attributes": "give a mapping of fields here",
}
"""By the beginning of pydantic's word for what is wrong: ``int_parsing``, ``tuple_type``."""
_BOUNDS: Final = {
    "greater_than_equal": ("at least {ge}", "ge"),
    "greater_than": ("more than {gt}", "gt"),
    "less_than_equal": ("at most {le}", "le"),
    "less_than": ("less than {lt}", "lt"),
    "string_too_short": ("at least {min_length} letters", "min_length"),
    "string_too_long": ("at most {max_length} letters", "max_length"),
    "too_short": ("at least {min_length}", "min_length"),
    "too_long": ("at most {max_length}", "max_length"),
}
_UNOFFERED: Final = frozenset({"memory"})
"""Words that are taken and offered to nobody: the driver that tests use."""
_LONGEST: Final = 40
_MOST_FIELDS: Final = 24
Schema = Mapping[str, Any]
Detail = Mapping[str, Any]
"""One of pydantic's ``ErrorDetails``, of this process or an API's request."""


def sentence(detail: Detail, fields: Iterable[str] = ()) -> str:
    """Give it. ``fields``: those that there are where one was written that is not."""
    kind, context = str(detail["type"]), detail.get("ctx") or {}
    if kind == "extra_forbidden":
        return no_such_field(str(detail["loc"][-1]), fields)
    if kind == "missing":
        return "this field is required"
    if kind in ("literal_error", "enum"):
        return one_of(detail.get("input"), _expected(str(context.get("expected", ""))))
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        for part, shape in _SHAPES.items():
            if part in pattern:
                return shape
    if kind in _BOUNDS and _BOUNDS[kind][1] in context:
        return f"give {_BOUNDS[kind][0].format(**context)}"
    for suffix in ("_type", "_parsing", "_from_float", "_parsing_size"):
        if kind.endswith(suffix) and (found := _TYPES.get(kind.removesuffix(suffix))):
            return found + _instead(detail.get("input"))
    if kind in _TYPES:
        return _TYPES[kind]
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:] if message[:2].istitle() else message


def _expected(text: str) -> list[str]:
    """Read pydantic's ``'a', 'b' or 3``."""
    found = (quoted or number for quoted, number in re.findall(r"'([^']*)'|(-?\d+)", text))
    return [word for word in found if word not in _UNOFFERED]


def one_of(given: object, allowed: Sequence[str]) -> str:
    """Say that something is none of what is allowed."""
    shown = f"'{given}' is not known here; " if _is_short(given) else ""
    return f"{shown}{_near(given, allowed)}write {words(allowed)}"


def no_such_field(given: str, fields: Iterable[str]) -> str:
    """Say that there is no such field, which one may be meant, and which there are where these are few."""
    known = list(fields)
    if near := _near(given, known):
        return f"there is no such field; {near.strip()}"
    if 0 < len(known) <= _MOST_FIELDS:
        return f"there is no such field; there {'is' if len(known) == 1 else 'are'} {words(known, 'and')}"
    return "there is no such field; check its spelling or remove it"


def words(allowed: Sequence[str], last: str = "or") -> str:
    """Give them as they are enumerated: ``a, b or c``."""
    *head, tail = [*allowed] or ["something else"]
    return f"{', '.join(head)} {last} {tail}" if head else tail


def fields_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Give the fields of what stands at a path in the data of a model; none where that is not known."""
    found: list[Schema] = [_schema(model)]
    for step in path:
        found = [inner for one in found for inner in _inside(one, step, _schema(model))]
    return list(dict.fromkeys(name for one in found for name in one.get("properties", {})))


@lru_cache(maxsize=64)
def _schema(model: type[BaseModel]) -> Schema:
    whole = model.model_json_schema()
    return {"$defs": {}, **whole, "branches": list(_branches(whole, whole))}


def _inside(
    schema: Mapping[str, Any], step: int | str, whole: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    for branch in schema.get("branches") or _branches(schema, whole):
        if isinstance(step, int):
            items = branch.get("items")
        else:
            items = branch.get("properties", {}).get(step, branch.get("additionalProperties"))
        if isinstance(items, dict):
            yield from _branches(items, whole)


def _branches(schema: Schema, whole: Schema) -> Iterator[Schema]:
    """Yield what a schema may be: itself, or each of its alternatives."""
    if "$ref" in schema:
        yield from _branches(whole.get("$defs", {}).get(schema["$ref"].rpartition("/")[2], {}), whole)
        return
    inner = [one for key in ("anyOf", "oneOf", "allOf") for one in schema.get(key, ())]
    if not inner:
        yield schema
    for one in inner:
        yield from _branches(one, whole)


def _near(given: object, allowed: Sequence[str]) -> str:
    found = get_close_matches(str(given)[:100], allowed, 1, 0.7) if isinstance(given, str) else []
    return f"did you mean {found[0]}? " if found else ""


def _instead(given: object) -> str:
    if isinstance(given, Mapping):
        return ", not a mapping"
    if isinstance(given, list | tuple):
        return ", not a list"
    if given is None:
        return ", not nothing"
    return ""


def _is_short(given: object) -> bool:
    return isinstance(given, str | int | float) and len(str(given)) <= _LONGEST and str(given).isprintable()
