"""What all declared values share: frozen, no unknown fields, and errors that name the field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from edgeward import domain_name
from edgeward.errors import Invalid, Problem


class Value(BaseModel):
    """A frozen value parsed at the door: one that exists is valid."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)


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

HostPattern = Annotated[str, checked(domain_name.normalise_pattern)]
"""An exact host name or ``*.suffix``, canonical."""


def parse(model: type[V], data: object, where: str = "") -> V:
    """Give the value, or raise Invalid with one Problem per wrong field; ``where`` prefixes fields."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise Invalid(*problems_of(error, where)) from error


def problems_of(error: ValidationError, where: str = "") -> list[Problem]:
    return [
        Problem(field=join(where, detail["loc"]), message=_sentence(detail))
        for detail in error.errors(include_url=False)
    ]


def join(where: str, path: Sequence[Any]) -> str:
    """Give a path as people write it: ``join("services[0]", ("backends", 1, "url"))``."""
    text = where
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else str(step)
    return text


def _sentence(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return "there is no such field; check its spelling or remove it"
    if kind == "missing":
        return "this field is required"
    if kind == "string_pattern_mismatch" and "[A-Za-z0-9._-]" in str(detail.get("ctx")):
        return "a name has 1 to 100 letters, digits, dots, hyphens and underscores"
    message = detail["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:] if message[:2].istitle() else message
