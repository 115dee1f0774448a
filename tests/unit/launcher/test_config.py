from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import edgeward.launcher
from edgeward.launcher import config


def read(*argv: str, **environment: str) -> config.Config:
    return config.read(["--state-dir", "/s", *argv], environment)


def test_a_variable_of_the_environment_is_a_default() -> None:
    assert read(EDGEWARD_CONCURRENCY="3").concurrency == 3
    assert read("--concurrency", "5", EDGEWARD_CONCURRENCY="3").concurrency == 5


def test_a_wrong_variable_is_refused_like_a_wrong_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read(EDGEWARD_DRAIN_SECONDS="long")

    assert ended.value.code == 2
    assert "give seconds from 0 to 3600" in capsys.readouterr().err


def test_without_options_it_uses_this_host() -> None:
    found = read()

    assert found.node_dir == Path("/s/node")
    assert found.concurrency >= 1
    assert found.bounds.connections >= 100
    assert found.bounds.heap_bytes >= 256 << 20
    assert found.envoy.name == "envoy"


def test_there_is_one_sentence_where_envoy_is_missing() -> None:
    with pytest.raises(config.Unusable, match="name Envoy's binary"):
        read("--envoy", "/nonexistent")


def test_the_launcher_needs_the_standard_library_only() -> None:
    allowed = {*sys.stdlib_module_names, "edgeward.launcher", "edgeward.notify", "edgeward"}
    for file in Path(edgeward.launcher.__file__).parent.glob("*.py"):
        for module in imported(ast.parse(file.read_text())):
            top = module.partition(".")[0]
            assert top in sys.stdlib_module_names or ".".join(module.split(".")[:2]) in allowed, (
                f"{file.name} imports {module}"
            )


def imported(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "edgeward":
            found += [f"edgeward.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
    return found
