"""What the lock files pin can be installed with Debian 12's Python, whichever Python made them."""

from __future__ import annotations

from importlib.metadata import distributions

from packaging.specifiers import SpecifierSet

DEBIAN_12 = "3.11.2"


def test_nothing_that_is_pinned_needs_a_newer_python_than_debian_12_has() -> None:
    needs = {found.name: found.metadata["Requires-Python"] for found in distributions()}

    assert len(needs) > 50
    assert {name: need for name, need in needs.items() if need and DEBIAN_12 not in SpecifierSet(need)} == {}
