"""The pages of the reference say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import edgeward
from docs.generate_reference import PAGES, REFERENCE
from docs.reference_cli import VARIABLES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), "run `make reference`"


def test_every_field_every_operation_and_every_figure_is_explained() -> None:
    for name in ("configuration.md", "api.md", "metrics.md", "errors.md"):
        assert "|  |\n" not in (REFERENCE / name).read_text(), name


def test_a_field_leads_to_what_it_takes_in_its_own_kind() -> None:
    """Several kinds have limits, timeouts, watching of a peer: of another kind they say something else."""
    count: dict[str, int] = {}
    for section in (REFERENCE / "configuration.md").read_text().split("\n## ")[1:]:
        there = set()
        for title in re.findall(r"^### (\w+)$", section, re.M):
            slug = title.lower()
            there.add(f"{slug}-{count[slug]}" if slug in count else slug)
            count[slug] = count.get(slug, 0) + 1
        assert set(re.findall(r"\(#([\w-]+)\)", section)) <= there, section.partition("\n")[0]


def test_every_environment_variable_is_explained() -> None:
    source = Path(edgeward.__file__).parent
    text = "\n".join(path.read_text() for path in source.rglob("*.py"))
    named = set(re.findall(r"\bEDGEWARD_([A-Z][A-Z0-9_]*[A-Z0-9])\b(?!_)", text)) - {
        "UP_ROOTD",
        "LISTEN__HTTPS",
    }

    assert named <= set(VARIABLES)
    assert {"API", "DNS_SERVERS", "LOG_LEVEL"} <= named


def test_what_a_relay_does_untold_stands_in_the_reference() -> None:
    page = " ".join((REFERENCE / "cli.md").read_text().split())

    assert "for each address of the backend (default: 5)" in page
