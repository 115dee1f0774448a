"""Request bodies: bounded, strict JSON, parsed into values whose errors name the field."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from fastapi import Depends, Request
from pydantic.json_schema import models_json_schema

from edgeward.errors import Invalid, Problem
from edgeward.parsing import Value, parse

V = TypeVar("V", bound=Value)
_MOST_VALUES: Final = 8_000_000
"""An empty list takes three bytes as text and sixty in memory."""
_REFERENCE = "#/components/schemas/{model}"
_described: dict[str, type[Value]] = {}


def body_of(model: type[V]) -> Any:
    """Give a dependency that reads the body as ``model``; raises Invalid naming every wrong field."""

    async def read(request: Request) -> V:
        return parse(model, await json_body(request))

    call: Callable[[Request], Any] = read
    return Depends(call)


async def json_body(request: Request) -> Any:
    """Read a JSON body; raises Invalid for what is not JSON, duplicate keys and NaN included."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Invalid(Problem("", "send the body as application/json"))
    return read_json(await request.body())


def read_json(data: bytes) -> Any:
    """Read strict JSON (RFC 8259, duplicate keys refused); raises Invalid."""
    if sum(data.count(sign) for sign in (b"[", b"{", b",")) > _MOST_VALUES:
        raise Invalid(f"the JSON has more than {_MOST_VALUES:,} values; send less at once")
    try:
        return json.loads(data.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except Invalid:
        raise
    except RecursionError as error:
        raise Invalid("the JSON is nested too deeply") from error
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError among them
        raise Invalid(f"the body is not JSON: {error}") from error


def described(model: type[Value]) -> dict[str, Any]:
    """Give the ``openapi_extra`` of a route whose body is read by ``body_of``."""
    _described[model.__name__] = model
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def schemas() -> dict[str, Any]:
    """Give the JSON schemas of everything ``described``, for the components of the OpenAPI document."""
    models = [(model, "validation") for model in _described.values()]
    _, definitions = models_json_schema(models, ref_template=_REFERENCE)  # type: ignore[arg-type]
    found: dict[str, Any] = definitions.get("$defs", {})
    return found


def _no_duplicates(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise Invalid(Problem(twice, "this key stands twice in one object; keep one of them"))
    return result


def _no_constant(text: str) -> Any:
    raise Invalid(f"the body is not JSON: {text} is not a JSON number")
