"""Writes the list of figures in docs/reference/metrics.md from the code that makes them."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import edgeward

SOURCE = Path(edgeward.__file__).parent
PROGRAMS = {"controller": "controller", "node": "node", "relay": "relay"}
_COUNTERS = ("Counter", "CounterMetricFamily", "counter")
_MAKERS = (
    *_COUNTERS, "Gauge", "Histogram", "GaugeMetricFamily", "_gauge", "number", "numbers", "gauge"
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Figure:
    name: str
    labels: tuple[str, ...]
    about: str


def figures() -> str:
    """Give a table of every figure, by program."""
    parts = []
    for program, folder in PROGRAMS.items():
        found: dict[str, Figure] = {}
        for path in sorted((SOURCE / folder).rglob("*.py")):
            found |= {figure.name: figure for figure in _of_module(ast.parse(path.read_text()))}
        rows = [_row(figure) for figure in sorted(found.values())]
        parts.append("\n".join([f"| {program} | |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _row(figure: Figure) -> str:
    labels = f"{{{','.join(figure.labels)}}}" if figure.labels else ""
    return f"| `{figure.name}{labels}` | {figure.about} |"


def _of_module(tree: ast.Module) -> Iterator[Figure]:
    tables = {name: rows for node in ast.walk(tree) for name, rows in _table(node)}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        texts: dict[str, str] = {}
        for values, node in _in_order(function, tables, {}):
            if isinstance(node, ast.Assign):
                texts |= _said(node.targets[0], node.value, values, texts)
            if isinstance(node, ast.Call) and _callee(node) in _MAKERS and node.args:
                yield from _made(node, values, texts)
            if isinstance(node, ast.Call) and _callee(node) in ("one", "head") and len(node.args) > 2:
                yield from _of_relay(node)


def _said(
    target: ast.expr, value: ast.expr, values: Mapping[str, Sequence[str]], texts: Mapping[str, str]
) -> dict[str, str]:
    """Give the texts that an assignment gives names to."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=True)
        return {name: text for one in pairs for name, text in _said(*one, values, texts).items()}
    if isinstance(target, ast.Name):
        return dict.fromkeys([target.id], "".join(_texts(value, values, texts)[:1]))
    return {}


def _made(call: ast.Call, values: Mapping[str, Sequence[str]], texts: Mapping[str, str]) -> Iterator[Figure]:
    names = [name for name in _texts(call.args[0], values, texts) if name.startswith("edgeward_")]
    abouts = _texts(call.args[1], values, texts) if len(call.args) > 1 else []
    end = "_total" if _callee(call) in _COUNTERS else ""
    labels = _labels(call, values, texts)
    for index, name in enumerate(names):
        about = abouts[min(index, len(abouts) - 1)] if abouts else ""
        own = (labels[index],) if _callee(call) == "numbers" and len(labels) == len(names) > 1 else labels
        yield Figure(name.removesuffix("_total") + end if end else name, own, about)


def _of_relay(call: ast.Call) -> Iterator[Figure]:
    """Give what the relay writes: it has no library for it."""
    name, _, about = (one.value if isinstance(one, ast.Constant) else None for one in call.args[:3])
    if isinstance(name, str):
        yield Figure(f"edgeward_relay_{name}", (), str(about))


def _labels(call: ast.Call, values: Mapping[str, Sequence[str]], texts: Mapping[str, str]) -> tuple[str, ...]:
    if _callee(call) == "numbers" and len(call.args) > 2:
        return tuple(_texts(call.args[2], values, texts))
    lists = [k.value for k in call.keywords if k.arg == "labels"] + list(call.args[2:3])
    return tuple(
        str(one.value)
        for found in lists if isinstance(found, ast.List)
        for one in found.elts if isinstance(one, ast.Constant)
    )  # fmt: skip


def _callee(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _in_order(
    node: ast.AST, tables: Mapping[str, list[list[str]]], values: Mapping[str, Sequence[str]]
) -> Iterator[tuple[Mapping[str, Sequence[str]], ast.AST]]:
    """Give every node below with what the names of the loops around it go through."""
    for child in ast.iter_child_nodes(node):
        inner = values
        if isinstance(child, ast.For):
            inner = {**values, **_loop(child, tables)}
        if isinstance(child, ast.Assign):
            tables = {**tables, **dict(_table(child))}
        yield inner, child
        yield from _in_order(child, tables, inner)


def _loop(loop: ast.For, tables: Mapping[str, list[list[str]]]) -> dict[str, list[str]]:
    rows = _rows(loop.iter, tables)
    targets = [t.id for t in ast.walk(loop.target) if isinstance(t, ast.Name)]
    return {name: [row[i] for row in rows if i < len(row)] for i, name in enumerate(targets)}


def _rows(node: ast.expr, tables: Mapping[str, list[list[str]]]) -> list[list[str]]:
    if isinstance(node, ast.Call):  # TABLE.items()
        node = node.func.value if isinstance(node.func, ast.Attribute) else node
    if isinstance(node, ast.Name):
        return tables.get(node.id, [])
    if isinstance(node, ast.Tuple | ast.List):
        return [_flat(one) for one in node.elts]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return [[*_flat(key), *_flat(value)] for key, value in pairs if key is not None]
    return []


def _flat(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Tuple | ast.List):
        return [text for one in node.elts for text in _flat(one)]
    return [str(node.value) if isinstance(node, ast.Constant) else ""]


def _table(node: ast.AST) -> Iterator[tuple[str, list[list[str]]]]:
    name = node.target if isinstance(node, ast.AnnAssign) else None
    name = node.targets[0] if isinstance(node, ast.Assign) else name
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if isinstance(name, ast.Name) and isinstance(value, ast.Tuple | ast.List | ast.Dict):
        yield name.id, _rows(value, {})


def _texts(node: ast.expr, values: Mapping[str, Sequence[str]], texts: Mapping[str, str]) -> list[str]:
    """Give what an expression may say: a text, a name of one, or an f-string over a loop."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.Name):
        return list(values.get(node.id) or [texts[name] for name in (node.id,) if texts.get(name)])
    if isinstance(node, ast.JoinedStr):
        parts = [
            _texts(part.value if isinstance(part, ast.FormattedValue) else part, values, texts) or ["…"]
            for part in node.values
        ]
        return ["".join(some) for some in itertools.product(*parts)]
    return []
