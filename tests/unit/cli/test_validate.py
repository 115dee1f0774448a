"""`edgeward validate`: one file, and several that make one declaration."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeward.cli.declare import validate
from edgeward.cli.declared_file import sent
from edgeward.cli.tree import preflight
from edgeward.errors import Invalid

ISSUERS = """version: 1
issuers: [{name: ca, acme: {directory: "https://ca.example/dir"}}]
services: [{name: shop, backends: ["http://b.example"]}]
"""
DOMAINS = """version: 1
domains: [{name: shop.example, issuer: ca}]
routes:
  - {hosts: [shop.example], service: shop}
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "issuers.yaml").write_text(ISSUERS)
    (tmp_path / "domains.yaml").write_text(DOMAINS)
    return str(tmp_path / "issuers.yaml"), str(tmp_path / "domains.yaml")


def test_what_another_file_declares_is_there_when_that_is_named_too(files, capsys):
    validate([*files])

    assert "are valid (issuers: 1, services: 1, domains: 1, routes: 1)" in capsys.readouterr().out


def test_alone_each_missing_thing_is_named_with_what_to_do(files):
    with pytest.raises(Invalid) as refused:
        validate([files[1]])

    told = [(p.field, p.file, p.line) for p in refused.value.problems]
    assert len(told) == 2 and {file for _, file, _ in told} == {files[1]}
    assert all(p.message.endswith("is it in another file, name that too: -f") for p in refused.value.problems)


def test_a_problem_is_placed_in_the_file_it_is_in(files, tmp_path):
    (tmp_path / "more.yaml").write_text(
        "version: 1\nroutes:\n  - {hosts: [shop.example], paths: [/a], service: gone}\n"
    )
    with pytest.raises(Invalid) as refused:
        validate([*files, str(tmp_path / "more.yaml")])

    (problem,) = refused.value.problems
    assert (problem.file, problem.line) == (str(tmp_path / "more.yaml"), 3)


def test_what_two_files_declare_is_refused(files, tmp_path):
    (tmp_path / "again.yaml").write_text("version: 1\ndomains: [{name: shop.example}]\n")
    with pytest.raises(Invalid, match="declares it, too"):
        validate([*files, str(tmp_path / "again.yaml")])


def test_up_leaves_to_the_store_what_its_file_does_not_say(files, tmp_path):
    with pytest.raises(Invalid, match="there is no issuer"):
        preflight.read_declaration(Path(files[1]))

    assert len(preflight.read_declaration(Path(files[1]), alone=False)) == 2
    assert not preflight.has_store(tmp_path, {})
    assert preflight.has_store(tmp_path, {"EDGEWARD_DATABASE": "postgresql://x"})


def test_mistakes_in_values_are_told_of_all_files_and_that_the_rest_waits(tmp_path):
    text = "version: 1\ndomains: [{name: a.example, on_demand: maybe}]\n"
    routes = "routes: [{hosts: [a.example], service: nope}]\n"
    (tmp_path / "a.yaml").write_text(text + routes)
    (tmp_path / "b.yaml").write_text(text)
    with pytest.raises(Invalid) as refused:
        validate([str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")])

    *found, last = refused.value.problems
    assert [(p.file, p.field) for p in found] == [
        (str(tmp_path / name), "domains[0].on_demand") for name in ("a.yaml", "b.yaml")
    ]
    assert str(last) == "references and the rest are checked once these are right"


def test_a_file_that_is_not_there_is_all_that_is_said(tmp_path):
    with pytest.raises(Invalid) as refused:
        validate([str(tmp_path / "none.yaml")])

    assert len(refused.value.problems) == 1


def test_what_is_sent_says_it_too(tmp_path):
    sending = sent(str(tmp_path / "a.yaml"), b"version: 1\ndomains: [{name: a.example, on_demand: maybe}]\n")
    with pytest.raises(Invalid, match="the rest are checked once these are right"):
        sending.read()
