"""Writes the operations of docs/reference/api.md, and docs/reference/errors.md, from the code."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import edgeward.api
from edgeward.api import problems
from edgeward.api.app import create_app
from edgeward.api.routes import Routes
from edgeward.api.usecases import UseCases
from edgeward.kinds import KINDS

SOURCE = Path(edgeward.api.__file__).parents[1]
ERRORS = """# Errors

<!-- Written by docs/generate_reference.py (`make reference`); change the code, not this file. -->

Whatever goes wrong is of one of five kinds. The API answers with a problem document (RFC 9457,
`application/problem+json`) that has every problem found, each with its field and the remedy; commands print
the same sentences and end with an exit code.

```json
{"type": "urn:edgeward:problem:invalid-input", "title": "Invalid input", "status": 422, "detail": "…",
 "errors": [{"field": "backends[0].url", "message": "…", "line": null, "object": "services/default/shop"}]}
```

| kind | what it says | status | `type` | exit code |
|---|---|---|---|---|
"""
OTHERS = """
Answers that are of none of these kinds:

| status | `title` |
|---|---|
"""
ROOT = """
## What rootd answers

An action's `outcome`; over the API, a run has it, too.

| outcome | |
|---|---|
"""
_OUTCOMES = {
    "done": "it ran to its end; `exit` and `output` say how",
    "timed-out": "it took longer than its `timeout` and was ended with its group",
    "busy": "it cools down, or too much runs; ask again",
    "failed": "it could not be run; the reason says why",
    "refused": "there is no such action, or not for who asks",
    "invalid": "a value is not what the action's file says it is to be",
    "malformed": "what was sent is no request",
    "late": "no whole request came within 2 s",
    "turned-away": "who connected may ask for nothing at all; written down once a second",
}


def operations() -> str:
    """Give a table of every operation, by path."""
    document = openapi()
    rows = ["| operation | parameters | |", "|---|---|---|"]
    for path, methods in sorted(document["paths"].items()):
        rows += [_operation(method.upper(), path, said) for method, said in methods.items()]
    return "\n".join(rows) + "\n"


def openapi() -> dict[str, Any]:
    """Give what ``/openapi.json`` says."""
    cases = cast(UseCases, SimpleNamespace(seeing=SimpleNamespace(stale_since=None)))
    return create_app(cases, KINDS, extra=_routers()).openapi()


def _routers() -> list[Routes]:
    """Give every router of the face that the app does not bring along."""
    given = vars(importlib.import_module("edgeward.api.app"))
    own = {id(getattr(given.get(name), "router", None)) for name in given}
    names = sorted(module.name for module in pkgutil.iter_modules(edgeward.api.__path__))
    found = (getattr(importlib.import_module(f"edgeward.api.{name}"), "router", None) for name in names)
    return [router for router in found if isinstance(router, Routes) and id(router) not in own]


def _operation(method: str, path: str, said: Mapping[str, Any]) -> str:
    names = [p["name"] for p in said.get("parameters", ()) if p["in"] == "query"]
    headers = [p["name"] for p in said.get("parameters", ()) if p["in"] == "header"]
    parameters = ", ".join(f"`{name}`" for name in (*names, *headers))
    return f"| `{method} {path}` | {parameters} | {_sentence(said.get('description', ''))} |"


def _sentence(text: str) -> str:
    first = " ".join(text.strip().split("\n\n")[0].split())
    return re.sub(r"``(.+?)``", r"`\1`", first).replace("|", "\\|")


def errors() -> str:
    """Give the page of errors."""
    rows = [_error(kind, status, title) for kind, status, title in problems.KINDS]
    others = sorted(set(_others()))
    text = ERRORS + "\n".join(rows) + "\n" + OTHERS + "\n".join(f"| {s} | {t} |" for s, t in others) + "\n"
    outcomes = sorted(_outcomes(), key=list(_OUTCOMES).index)
    return text + ROOT + "\n".join(f"| `{name}` | {_OUTCOMES[name]} |" for name in outcomes) + "\n"


def _error(kind: type[Exception], status: int, title: str) -> str:
    code = 2 if kind.__name__ == "Invalid" else 1
    above = kind.__mro__[1].__name__
    name = kind.__name__ if above == "EdgewardError" else f"{above}: {kind.__name__}"
    return f"| {name} | {_sentence(kind.__doc__ or '')} | {status} | `{problems.type_of(title)}` | {code} |"


def _others() -> Iterator[tuple[int, str]]:
    """Give what the face answers by itself, as its code has it."""
    for path in sorted((SOURCE / "api").glob("*.py")):
        for status, title in re.findall(r'\bproblem\(\s*(\d{3}),\s*"([^"]+)"', path.read_text()):
            yield int(status), title


def _outcomes() -> set[str]:
    """Give every outcome that stands in rootd's code; a new one without a meaning here is an error."""
    text = "".join(path.read_text() for path in sorted((SOURCE / "rootd").rglob("*.py")))
    return set(re.findall(r'"outcome": "([a-z-]+)"', text)) | set(
        re.findall(r'"outcome": "[a-z-]+" if \w+ else "([a-z-]+)"', text)
    )
