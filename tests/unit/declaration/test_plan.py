"""Planning: carrying it out gives what was desired, twice changes nothing, and others are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.declaration.document import from_data
from edgeward.declaration.model import Change, Declared, Key, Stored
from edgeward.declaration.plan import placed, plan
from edgeward.errors import Conflict, Invalid, Problem
from edgeward.kinds import KINDS
from tests.unit.declaration.examples import documents

SOURCES = st.sampled_from(["api", "file:a", "file:b"])


def objects(data) -> tuple[Declared, ...]:
    return from_data(data, "f", KINDS).objects


@st.composite
def worlds(draw):
    return {d.key: Stored(d.key, d.value, draw(SOURCES), 1) for d in objects(draw(documents()))}


def carry_out(
    changes: tuple[Change, ...], world: dict[Key, Stored], source: str, desired
) -> dict[Key, Stored]:
    values = {d.key: d.value for d in desired}
    after = dict(world)
    for change in changes:
        if change.action == "delete":
            del after[change.key]
        else:
            assert (change.action == "create") == (change.key not in world)
            after[change.key] = Stored(change.key, values[change.key], source, 2)
    return after


@given(documents().map(objects), worlds(), SOURCES)
def test_carrying_out_the_plan_gives_what_was_desired(desired, world, source):
    after = carry_out(plan(desired, world, source, take_over=True), world, source, desired)

    assert {k: s.value for k, s in after.items() if s.source == source} == {d.key: d.value for d in desired}
    foreign = {k: s for k, s in world.items() if s.source != source and k not in {d.key for d in desired}}
    assert {k: s for k, s in after.items() if s.source != source} == foreign
    assert plan(desired, after, source) == ()


@given(documents().map(objects), worlds(), SOURCES)
def test_keeping_deletes_nothing(desired, world, source):
    changes = plan(desired, world, source, keep=True, take_over=True)

    assert all(change.action != "delete" for change in changes)


@given(documents().map(objects), worlds(), SOURCES)
def test_what_belongs_to_another_source_is_a_conflict_that_names_it(desired, world, source):
    foreign = [d.key for d in desired if d.key in world and world[d.key].source != source]
    if not foreign:
        plan(desired, world, source)
        return
    with pytest.raises(Conflict) as caught:
        plan(desired, world, source)
    assert f"{foreign[0]} (source {world[foreign[0]].source})" in str(caught.value)


def test_of_many_of_another_source_five_are_named_and_the_rest_are_counted():
    desired = objects({"version": 1, "domains": [{"name": f"{n}.a.example"} for n in range(12)]})
    world = {d.key: Stored(d.key, d.value, "api", 1) for d in desired}

    with pytest.raises(Conflict, match="and 7 more belong to another source; take them over"):
        plan(desired, world, "file:a")
    with pytest.raises(Conflict, match="belongs to another source; take it over"):
        plan(desired[:1], world, "file:a")


def test_even_an_equal_value_stays_its_sources():
    (declared,) = objects({"version": 1, "domains": [{"name": "a.example"}]})
    world = {declared.key: Stored(declared.key, declared.value, "api", 1)}

    with pytest.raises(Conflict, match=r"domains/default/a\.example"):
        plan([declared], world, "file:a")
    (change,) = plan([declared], world, "file:a", take_over=True)
    assert (change.action, change.taken_from, change.before) == ("change", "api", change.after)


def test_problems_of_what_was_declared_have_its_lines_and_those_of_others_are_a_conflict():
    (declared,) = objects({"version": 1, "domains": [{"name": "a.example"}]})
    declared = Declared(declared.key, declared.value, line=7)
    mine = Problem("issuer", "wrong", object=str(declared.key))
    others = Problem("service", "gone", object="routes/default/r")

    error = placed([others, mine], [declared], "edge.yaml")
    assert isinstance(error, Invalid)
    assert [(p.line, p.file, p.field) for p in error.problems] == [(7, "edge.yaml", "issuer")]
    conflict = placed([others], [declared], "edge.yaml")
    assert isinstance(conflict, Conflict)
    assert "routes/default/r: gone" in str(conflict)
