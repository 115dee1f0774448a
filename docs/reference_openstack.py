"""The page on OpenStack's API: its resources from their tables, and its errors from where they are raised."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import edgeward
from edgeward.api.openstack.attributes import REQUIRED, Attribute, Resource
from edgeward.api.openstack.resources import FIRST, RESOURCES
from edgeward.vpn.openstack.rules import MISSING

SOURCE = Path(edgeward.__file__).parent
PLACES = ("api/openstack", "vpn/openstack")
HEAD = """# OpenStack's API

<!-- Written by docs/generate_reference.py (`make reference`); change the code, not this file. -->

What the API answers below `/v2.0`, see [From Neutron VPNaaS](../how-to/from-neutron.md). Lists
take `fields`, `sort_key` and `sort_dir`, `limit`, `marker` and `page_reverse`, and any attribute as a filter.
P: may be posted, U: may be put; the others are only read.
"""
ERRORS = """## Errors

`{"NeutronError": {"type": …, "message": …, "detail": ""}}`; of a refused log-in
`{"error": {"code": 401, …}}`.

| status | type | message |
|---|---|---|
"""


def openstack() -> str:
    """Give the whole page."""
    parts = [HEAD, *(_resource(resource) for resource in RESOURCES.values()), ERRORS]
    missing = {(404, type_, message.format("…")) for type_, message in MISSING.values()}
    rows = sorted(missing.union(*(_errors(SOURCE / place) for place in PLACES)))
    return "\n".join(parts) + "".join(f"| {status} | `{type_}` | {text} |\n" for status, type_, text in rows)


def _resource(resource: Resource) -> str:
    rows = [f"## {resource.path}", "", "| attribute | | default |", "|---|---|---|"]
    return "\n".join([*rows, *(_row(attribute) for attribute in resource.attributes)]) + "\n"


def _row(attribute: Attribute) -> str:
    may = ("P" if attribute.post else "") + ("U" if attribute.put else "")
    default = f"`{attribute.default!r}`" if attribute.post else "—"
    if attribute.post and attribute.default is REQUIRED:
        default = "the asker's project" if attribute.name in ("tenant_id", "project_id") else "required"
    elif attribute.default is FIRST:
        default = "the first address"
    return f"| `{attribute.name}` | {may} | {default} |"


def _errors(place: Path) -> Iterator[tuple[int, str, str]]:
    for file in sorted(place.glob("*.py")):
        tree = ast.parse(file.read_text())
        said = sorted(
            (node.lineno, target.id, _text(node.value))
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        )
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                texts = {name: text for line, name, text in said if line <= call.lineno}
                yield from _error(call.func.id, call.args, texts)


def _error(name: str, arguments: list[ast.expr], texts: dict[str, str]) -> Iterator[tuple[int, str, str]]:
    said = [texts.get(a.id, "…") if isinstance(a, ast.Name) else _text(a) for a in arguments]
    if name == "Fault" and len(said) == 3 and said[0].isdigit() and said[2] != "…":
        yield int(said[0]), said[1], said[2]
    elif name == "Wrong" and len(said) == 3:
        yield 400, said[0], said[1]
    elif name == "bad_request" and said[0] != "…":
        yield 400, "HTTPBadRequest", said[0]


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values)
    return "…"
