"""What all declared values share: frozen, no unknown fields, and errors that name the field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from edgeward import domain_name
from edgeward.errors import Invalid, Problem


class Value(BaseModel):
    """A frozen value parsed at the door: one that exists is valid."""

    model_config = ConfigDict(frozen=True, extra="forbid")


V = TypeVar("V", bound=Value)


def checked(check: Callable[[str], str]) -> AfterValidator:
    """Turn a parser that raises Invalid into a pydantic validator."""

    def validate(text: str) -> str:
        try:
            return check(text)
        except Invalid as error:
            raise ValueError(str(error)) from error

    return AfterValidator(validate)


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", max_length=100)]
"""The name of an object: 1 to 100 letters, digits, dots, hyphens and underscores."""

HostPattern = Annotated[str, checked(domain_name.normalise_host)]
"""An exact host name, ``*.suffix`` or ``*``, canonical."""


def parse(model: type[V], data: object, where: str = "") -> V:
    """Give the value, or raise Invalid with one Problem per wrong field; ``where`` prefixes fields."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise Invalid(*problems_of(error, where, data)) from error


_UNSEEN = object()


def problems_of(error: ValidationError, where: str = "", data: object = _UNSEEN) -> list[Problem]:
    """Give one Problem per wrong field; with ``data`` fields are named as its writer wrote them.

    Without it, pydantic's own path stands, which also names the branches of unions and the insides
    of values that a validator built from a shorter spelling.
    """
    problems = []
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == "too_short" and _fails_inside(detail["loc"], details):
            continue  # pydantic counts only the items that were right
        path = detail["loc"] if data is _UNSEEN else _written(detail, data)
        problems.append(Problem(field=join(where, path), message=_sentence(detail)))
    return list(dict.fromkeys(problems))


def _fails_inside(path: tuple[int | str, ...], details: Sequence[ErrorDetails]) -> bool:
    return any(len(d["loc"]) > len(path) and d["loc"][: len(path)] == path for d in details)


def _written(detail: ErrorDetails, data: object) -> list[int | str]:
    """Keep those steps of the error's path that lead through the data as it was given."""
    path: list[int | str] = []
    missing = detail["loc"][-1] if detail["type"] == "missing" else None
    for step in detail["loc"]:
        found = _inside(data, step)
        if found is not _UNSEEN:
            data = found
            path.append(step)
        elif step is missing and isinstance(data, Mapping):
            path.append(step)
    return path


def _inside(data: object, step: int | str) -> object:
    if isinstance(data, Mapping):
        return data.get(step, _UNSEEN)
    if isinstance(data, (list, tuple)) and isinstance(step, int) and step < len(data):
        return data[step]
    return _UNSEEN


def join(where: str, path: Sequence[Any]) -> str:
    """Give a path as people write it: ``join("services[0]", ("backends", 1, "url"))``."""
    text = where
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = domain_name.printable(str(step))
            text += f".{name}" if text else name
    return text


_SHAPES: Final = {
    "[A-Za-z0-9._-]": "a name has 1 to 100 letters, digits, dots, hyphens and underscores",
    "^https://": "write a URL as https://HOST/PATH",
    "^https?://": "write a URL as http://HOST:PORT/PATH or https://HOST/PATH",
    "^[^@": "write an address as name@example.com",
}
"""What is in a pattern, and how to write what it matches."""


def _sentence(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return "there is no such field; check its spelling or remove it"
    if kind == "missing":
        return "this field is required"
    if kind == "model_type":
        return "give a mapping of fields here"
    if kind == "string_pattern_mismatch":
        pattern = str(detail.get("ctx", {}).get("pattern"))
        for part, shape in _SHAPES.items():
            if part in pattern:
                return shape
    if kind == "too_short":
        return f"give at least {detail['ctx']['min_length']}"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:] if message[:2].istitle() else message
