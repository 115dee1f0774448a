"""The pages of the reference say what the code says."""

from __future__ import annotations

import pytest

from docs.generate_reference import PAGES, REFERENCE


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), "run `make reference`"


def test_every_field_every_operation_and_every_figure_is_explained() -> None:
    for name in ("configuration.md", "api.md", "metrics.md", "errors.md"):
        assert "|  |\n" not in (REFERENCE / name).read_text(), name
