"""Errors at the door name the field as its writer wrote it, and say what would be right."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from edgeward.certificates.model import AcmeIssuer
from edgeward.errors import Invalid
from edgeward.parsing import HostPattern, Name, Value, join, parse


class Leaf(Value):
    url: str
    weight: int = Field(default=1, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data):
        return {"url": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _no_space(self):
        if " " in self.url:
            raise ValueError("A URL has no space")
        return self


class Tree(Value):
    name: Name
    host: HostPattern | None = None
    leaves: tuple[Leaf, ...] = Field(default=(), min_length=1)
    log: Literal["off"] | int = "off"


def problems(data: object) -> list[str]:
    with pytest.raises(Invalid) as caught:
        parse(Tree, data, "trees[2]")
    return [str(problem) for problem in caught.value.problems]


def test_every_wrong_field_is_named_at_once():
    found = problems(
        {"name": "", "host": "a_b.example", "leaves": ["x y", {"url": "a", "weight": 0}, {}], "colour": 1}
    )

    assert [text.partition(": ")[0] for text in found] == [
        "trees[2].name",
        "trees[2].host",
        "trees[2].leaves[0]",
        "trees[2].leaves[1].weight",
        "trees[2].leaves[2].url",
        "trees[2].colour",
    ]
    assert found[0].endswith("1 to 100 letters, digits, dots, hyphens and underscores")
    assert found[4].endswith("this field is required")


def test_a_branch_of_a_union_is_no_field():
    assert {text.partition(": ")[0] for text in problems({"name": "a", "leaves": ["a"], "log": "on"})} == {
        "trees[2].log"
    }


def test_a_url_that_is_none_is_told_how_to_be_written():
    with pytest.raises(Invalid) as caught:
        parse(AcmeIssuer, {"directory": "http://ca.example/dir", "email": "nobody"}, "acme")

    assert [str(problem) for problem in caught.value.problems] == [
        "acme.directory: write a URL as https://HOST/PATH",
        "acme.email: write an address as name@example.com",
    ]


def test_an_empty_list_says_how_many_are_wanted():
    assert problems({"name": "a", "leaves": []}) == ["trees[2].leaves: give at least 1"]


def test_something_that_is_no_mapping_is_said_so():
    assert problems("name: a") == ["trees[2]: give a mapping of fields here"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["name", "host", "leaves", "url", "weight", "log"])
                | st.text(max_size=5)
                | st.integers(),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_data_parses_or_is_invalid_with_printable_sentences(data):
    try:
        parse(Tree, data)
    except Invalid as error:
        assert error.problems
        assert all(p.field.isprintable() and p.message for p in error.problems)


def test_a_value_cannot_be_changed():
    tree = parse(Tree, {"name": "a", "leaves": ["x"]})

    with pytest.raises(Exception, match="frozen"):
        tree.name = "b"


def test_paths_are_joined_as_people_write_them():
    assert join("services[0]", ("backends", 1, "url")) == "services[0].backends[1].url"
    assert join("", ("name",)) == "name"
