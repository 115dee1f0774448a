"""What all declared values share: frozen, no unknown fields, and errors that name the field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from edgeward import domain_name, sentences
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
        raise Invalid(*problems_of(error, where, data, model)) from error


_UNSEEN = object()


def problems_of(
    error: ValidationError, where: str = "", data: object = _UNSEEN, model: type[BaseModel] | None = None
) -> list[Problem]:
    """Give one Problem per wrong field; with ``data`` fields are named as its writer wrote them, with
    ``model`` those are named that there are.

    Without data, pydantic's own path stands, which also names the branches of unions and the insides
    of values that a validator built from a shorter spelling.
    """
    found: dict[str, list[str]] = {}
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == "too_short" and _fails_inside(detail["loc"], details):
            continue  # pydantic counts only the items that were right
        path = detail["loc"] if data is _UNSEEN else _written(detail, data)
        extra = detail["type"] == "extra_forbidden"
        fields = sentences.fields_at(model, path[:-1]) if extra and model is not None else ()
        said = found.setdefault(join(where, path), [])
        said.append(sentences.sentence(detail, fields))
    return [Problem(field, message) for field, all_ in found.items() for message in dict.fromkeys(all_)]


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
