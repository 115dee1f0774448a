"""What is wrong with a value is one sentence that says what is allowed, in nobody else's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BeforeValidator, Field

from docs.reference_api import openapi
from edgeward.errors import Invalid
from edgeward.kinds import KINDS
from edgeward.parsing import Value, parse
from edgeward.sentences import fields_at, no_such_field, sentence
from edgeward.vpn.site import Site


class Wheel(Value):
    spokes: int = Field(default=8, ge=3, le=64)


class Bell(Value):
    loudness: Literal["soft", "loud"] = "soft"


class Cycle(Value):
    colour: Literal["red", "light blue"] = "red"
    speeds: Literal[3, 7, 21] = 3
    drive: Literal["chain", "belt", "memory"] = "chain"
    lights: bool = True
    weight: float = 9.5
    owner: str = Field(default="me", max_length=5)
    wheels: tuple[Wheel, ...] = Field(default=(), max_length=2)
    bell: Bell | Wheel | None = None
    bags: dict[str, Wheel] = {}
    tags: Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)] = ()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"colour": "rde"}, "colour: 'rde' is not known here; write red or light blue"),
        ({"colour": "light-blue"}, "colour: 'light-blue' is not known here; did you mean light blue? write red or light blue"),
        ({"speeds": 999}, "speeds: '999' is not known here; write 3, 7 or 21"),
        ({"drive": "memroy"}, "drive: 'memroy' is not known here; write chain or belt"),
        ({"colour": ["red"]}, "colour: write red or light blue"),
        ({"colour": "x" * 50}, "colour: write red or light blue"),
        ({"lights": "perhaps"}, "lights: write true or false"),
        ({"weight": "heavy"}, "weight: write a number"),
        ({"owner": 5}, "owner: write a text here"),
        ({"owner": ["me"]}, "owner: write a text here, not a list"),
        ({"owner": "somebody"}, "owner: give at most 5 letters"),
        ({"wheels": {"spokes": 1}}, "wheels: give a list here, not a mapping"),
        ({"wheels": [{"spokes": 2}]}, "wheels[0].spokes: give at least 3"),
        ({"wheels": [{"spokes": "65"}]}, "wheels[0].spokes: give at most 64"),
        ({"wheels": [{"spokes": 4.5}]}, "wheels[0].spokes: write a whole number"),
        ({"wheels": [None]}, "wheels[0]: give a mapping of fields here, not nothing"),
        ({"wheels": [{}, {}, {}]}, "wheels: give at most 2"),
        ({"tags": 5}, "tags: give a list here"),
        ({"wheels": [{"spoke": 8}]}, "wheels[0].spoke: there is no such field; did you mean spokes?"),
        ({"bags": {"left": {"size": 8}}}, "bags.left.size: there is no such field; there is spokes"),
        ({"lihgts": True}, "lihgts: there is no such field; did you mean lights?"),
        ({"gears": 3}, "gears: there is no such field; there are colour, speeds, drive, lights, weight, owner, wheels, bell, bags and tags"),
    ],
)  # fmt: skip
def test_it_names_the_field_and_what_it_takes(data, said):
    with pytest.raises(Invalid) as caught:
        parse(Cycle, data)

    assert [str(problem) for problem in caught.value.problems] == [said]


def test_of_alternatives_the_fields_of_all_are_there():
    assert fields_at(Cycle, ["bell"]) == ["loudness", "spokes"]
    assert fields_at(Cycle, ["nowhere", 3]) == []
    assert no_such_field("x", []) == "there is no such field; check its spelling or remove it"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_declared_kind_says_which_field_may_be_meant(kind):
    fields = fields_at(kind.model, [])
    assert set(fields) >= {name for name in kind.model.model_fields if name != "secret"}
    assert f"did you mean {fields[-1]}?" in no_such_field(fields[-1] + "s", fields)


@given(
    st.dictionaries(
        st.sampled_from([*Site.model_fields, "nmae"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
        min_size=1,
    )
)
def test_no_word_of_the_parser_is_in_it(data):
    try:
        parse(Site, data)
    except Invalid as error:
        for problem in error.problems:
            for words in ("Value error", "Input should", "should be", "valid tuple", "Literal", "pydantic"):
                assert words not in problem.message, problem


def _patterns(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(found := schema.get("pattern"), str):
            yield found
        schema = list(schema.values())
    if isinstance(schema, list):
        for inner in schema:
            yield from _patterns(inner)


def test_no_pattern_of_what_is_declared_or_asked_is_said_to_anybody() -> None:
    patterns = {pattern for kind in KINDS.values() for pattern in _patterns(kind.model.model_json_schema())}
    patterns |= set(_patterns(openapi()))
    assert len(patterns) > 10
    for pattern in patterns:
        said = sentence({"type": "string_pattern_mismatch", "ctx": {"pattern": pattern}, "msg": pattern})
        assert pattern not in said, pattern


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (
            "routers",
            {"namespace": "qrouter.1"},
            "write a namespace in 1 to 100 letters, digits, hyphens and underscores",
        ),
        ("vpn", {"namespace": "n" * 65}, "a namespace has 1 to 64 letters, digits, dots, hyphens and"),
        (
            "networks",
            {"bridge": "br-ex-of-the-whole-house"},
            "write a bridge in 1 to 15 letters, digits, dots, hyphens",
        ),
        (
            "services",
            {"health": {"active": {"statuses": "good"}}},
            "write a status as 200, or a range as 200-399",
        ),
        ("services", {"health": {"active": {"path": "health"}}}, "write a path as /health, without blanks"),
        ("listen", {"access_log": "access.log"}, "/var/log/access.log"),
    ],
)
def test_what_has_a_shape_is_told_by_an_example(kind: str, data: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid) as raised:
        parse(KINDS[kind].model, {"name": "x", **data} if kind != "listen" else data)
    assert said in str(raised.value)
