"""Writes the pages of docs/reference from the code: they cannot say anything else than the programs."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from docs.reference_api import errors, operations
from docs.reference_cli import commands
from docs.reference_metrics import figures
from docs.reference_openstack import openstack
from edgeward.kinds import KINDS
from edgeward.parsing import Value
from edgeward.sealing import Sealed

REFERENCE = Path(__file__).parent / "reference"
MARK = "<!-- All below is written by docs/generate_reference.py (`make reference`); change the code. -->\n"
SINGLE = ("listen", "cache", "budgets", "alarms", "openresty")
COMMON = {
    "name": "1 to 100 letters, digits, dots, hyphens and underscores.",
    "project": "Whose object it is; roles are given by project.",
}
HEAD = """# Configuration reference

<!-- Written by docs/generate_reference.py (`make reference`); change the models, not this file. -->

One YAML file declares everything; REST takes and gives the same fields as JSON under `/v1/KIND/NAME`.
Durations are seconds as numbers or `500ms`, `30s`, `5m`, `1h`, `7d`; sizes are bytes or `64k`, `10m`, `1g`.
`listen`, `cache`, `budgets`, `alarms` and `openresty` are one map each, all other kinds are lists of
objects. Every object may name its `project` (default `default`); names of domains are unique over all
projects, other names within one.
The `ca` of a backend can be read from elsewhere: `{file: PATH}` or `{env: NAME}`. A secret is its
text, or one of these; it is stored sealed, and shown as `{kept: DIGEST}`: keep the one that is stored there.

```yaml
version: 1
```
"""


def reference() -> str:
    """Give the whole page."""
    parts = [HEAD]
    titles = Counter[str]()
    for name, kind in KINDS.items():
        nested = _nested(kind.model, {kind.model})
        anchors = {_title(model): _anchor(_title(model), titles) for model in nested}
        parts.append(f"## {name}\n\n{_prose(kind.model)}\n")
        parts.append(_table(kind.model, anchors))
        for model in nested:
            parts.append(f"### {_title(model)}\n\n{_prose(model)}\n")
            parts.append(_table(model, anchors))
    return "\n".join(parts)


def _anchor(title: str, titles: Counter[str]) -> str:
    """Give where a heading is found, numbered where others of the page are called the same."""
    slug = title.lower()
    titles[slug] += 1
    return slug if titles[slug] == 1 else f"{slug}-{titles[slug] - 1}"


def _prose(model: type[Value]) -> str:
    text = re.sub(r"``(.+?)``", r"`\1`", (model.__doc__ or "").strip())
    return "\n".join(line.strip() for line in text.splitlines())


def _title(model: type[Value]) -> str:
    return model.__name__


def _table(model: type[Value], anchors: Mapping[str, str]) -> str:
    schema = model.model_json_schema(ref_template="{model}")
    meanings = _meanings(model)
    required = set(schema.get("required", ()))
    rows = ["| field | takes | default | |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        default = "required" if name in required else _default(field.get("default"))
        meaning = _one_line(meanings.get(name) or COMMON.get(name, ""))
        rows.append(f"| `{name}` | {_takes(field, anchors)} | {default} | {meaning} |")
    return "\n".join(rows) + "\n"


def _meanings(model: type[Value]) -> dict[str, str]:
    """Give the text below each field. Read here: pydantic would read it at each start of each program."""
    found = {}
    for parent in model.__bases__:
        if issubclass(parent, Value) and parent is not Value:
            found |= _meanings(parent)
    tree = ast.parse(inspect.getsource(model))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            text = below.value
            if isinstance(text, ast.Constant) and isinstance(field.target, ast.Name):
                found[field.target.id] = str(text.value)
    return found


def _one_line(text: str) -> str:
    return re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split())).replace("|", "\\|")


def _default(value: Any) -> str:
    if value is None:
        return "—"
    if value in ([], {}, ""):
        return "none"
    if isinstance(value, dict):
        return "see below"
    return f"`{value}`" if not isinstance(value, list) else ", ".join(f"`{v}`" for v in value)


def _takes(field: dict[str, Any], anchors: Mapping[str, str]) -> str:
    if field.get("title") == "Secret":
        return "secret"
    if some := field.get("anyOf", field.get("oneOf")):
        kinds = [_takes(f, anchors) for f in some if f.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if field.get("$ref") == "Sealed":
        return "secret"
    if "$ref" in field:
        return f"[{field['$ref']}](#{anchors[field['$ref']]})"
    if "enum" in field or "const" in field:
        return ", ".join(f"`{v}`" for v in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_takes(field.get('items', {}), anchors)}"
    if field.get("type") == "object" and "properties" not in field:
        return "map of names to texts"
    return _plain(field)


def _plain(field: dict[str, Any]) -> str:
    kind = {"string": "text", "integer": "integer", "number": "number", "boolean": "true, false"}.get(
        str(field.get("type")), "object"
    )
    low, high = field.get("minimum", field.get("exclusiveMinimum")), field.get("maximum")
    if low is not None and high is not None:
        return f"{kind}, {low:g} to {high:g}" if high < 1e6 else f"{kind}, from {low:g} to {high:,.0f}"
    return kind


def _nested(model: type[Value], seen: set[type[Value]]) -> list[type[Value]]:
    found: list[type[Value]] = []
    for field in model.model_fields.values():
        for candidate in _models_in(field.annotation):
            if candidate not in seen:
                seen.add(candidate)
                found += [candidate, *_nested(candidate, seen)]
    return found


def _models_in(annotation: Any) -> list[type[Value]]:
    if isinstance(annotation, type) and issubclass(annotation, Value):
        return [] if annotation is Sealed else [annotation]
    return [m for argument in getattr(annotation, "__args__", ()) for m in _models_in(argument)]


def below(name: str, made: Callable[[], str]) -> Callable[[], str]:
    """Give a page whose beginning people write, up to the mark."""

    def page() -> str:
        return (REFERENCE / name).read_text().partition(MARK)[0] + MARK + "\n" + made()

    return page


PAGES: Mapping[str, Callable[[], str]] = {
    "configuration.md": reference,
    "cli.md": commands,
    "api.md": below("api.md", operations),
    "metrics.md": below("metrics.md", figures),
    "errors.md": errors,
    "openstack.md": openstack,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())
