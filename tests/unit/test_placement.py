"""Labels and selectors: what they select, together and apart."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from edgeward.certificates.model import Domain
from edgeward.errors import Invalid
from edgeward.parsing import parse
from edgeward.placement import EVERYWHERE, NOWHERE, Labels, both, changes, disjoint, either, holds, where
from tests.unit.declaration.examples import SELECTORS

NODES = [
    {k: v for k, v in zip(("region", "tier", "name"), values, strict=True) if v}
    for values in itertools.product(("a", "b", "c", ""), repeat=3)
]
selectors = st.none() | SELECTORS


def selected(selector, labels) -> bool:
    """What a selector means, said plainly."""
    return selector is None or all(labels.get(key) in values for key, values in selector.items())


@given(selectors, selectors)
def test_places_hold_where_their_selectors_do(one, other):
    for labels in NODES:
        first, second = selected(one, labels), selected(other, labels)
        assert holds(where(one), labels) == first
        assert holds(both(where(one), where(other)), labels) == (first and second)
        assert holds(either([where(one), where(other)]), labels) == (first or second)
        assert not (first and second and disjoint(one, other))


@given(selectors, selectors)
def test_what_is_not_disjoint_some_node_can_be_both(one, other):
    nodes = [
        dict(zip(("region", "tier", "name"), v, strict=True)) for v in itertools.product("abc", repeat=3)
    ]
    assert disjoint(one, other) or any(selected(one, n) and selected(other, n) for n in nodes)


def test_everywhere_and_nowhere_are_neutral():
    eu = where({"region": ["eu"]})
    assert both(EVERYWHERE, eu) == either([NOWHERE, eu]) == eu
    assert both(NOWHERE, eu) == either([]) == NOWHERE
    assert either([eu, EVERYWHERE]) == EVERYWHERE


@pytest.mark.parametrize(
    ("nodes", "written"),
    [
        ({"region": "eu"}, {"region": "eu"}),
        ({"region": ["eu"]}, {"region": "eu"}),
        ({"tier": ["silver", "gold", "silver"]}, {"tier": ["gold", "silver"]}),
    ],
)
def test_a_selector_has_one_way_to_be_written(nodes, written):
    domain = parse(Domain, {"name": "a.example", "nodes": nodes})
    assert domain.model_dump(mode="json", exclude_defaults=True)["nodes"] == written
    assert parse(Domain, {"name": "a.example", "nodes": written}) == domain


@pytest.mark.parametrize(
    ("nodes", "field"),
    [
        ({}, "nodes"),
        ({"region": []}, "nodes.region"),
        ({"region": "-eu"}, "nodes.region"),
        ({"region": ["eu", "a b"]}, "nodes.region[1]"),
        ({"region": 1}, "nodes.region"),
        ({"": "eu"}, "nodes"),
        ({"region": "x" * 64}, "nodes.region"),
        ({f"k{n}": "v" for n in range(33)}, "nodes"),
        ("eu", "nodes"),
    ],
)
def test_what_is_no_selector_is_told_with_its_field(nodes, field):
    with pytest.raises(Invalid) as told:
        parse(Domain, {"name": "a.example", "nodes": nodes})
    assert told.value.problems[0].field.startswith(field), told.value


def test_changes_of_labels_are_read_as_people_write_them():
    assert changes(["region=eu", "rack=a/1", "tier-"]) == ({"region": "eu", "rack": "a/1"}, {"tier"})
    for word in ("region", "=eu", "region=", "re gion=eu", "-", "name=x", "name-", "a=\x1b"):
        with pytest.raises(Invalid):
            changes([word])


def test_labels_are_bounded():
    adapter = TypeAdapter(Labels)
    adapter.validate_python({f"k{n}": "v" for n in range(32)})
    with pytest.raises(ValueError, match="32"):
        adapter.validate_python({f"k{n}": "v" for n in range(33)})
