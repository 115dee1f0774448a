from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import edgeward
from edgeward.rootd.table.actions import read

ROOT = Path(edgeward.__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "actions").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_shipped_action_can_be_used_as_it_is(path):
    action = read(tomllib.loads(path.read_text()))

    assert action.name == path.stem
    assert action.description


def test_all_of_them_are_there():
    expected = {"ipsec-reload", "ipsec-restart-connection", "nginx-reload", "service-restart"}
    assert {path.stem for path in EXAMPLES} >= expected


def test_rootd_without_its_table_of_actions_has_at_most_600_lines_of_code():
    import ast
    import io
    import tokenize

    nothing = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    count = 0
    for path in (ROOT / "src" / "edgeward" / "rootd").glob("*.py"):
        text = path.read_text()
        prose: set[int] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.end_lineno:
                prose |= set(range(node.lineno, node.end_lineno + 1))
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        code = {n for t in tokens if t.type not in nothing for n in range(t.start[0], t.end[0] + 1)}
        count += len(code - prose)

    assert count <= 600
