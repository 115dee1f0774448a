"""YAML as data with lines: what is text stays text, and what could hurt is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgeward.declaration.notation import line_of, read, scalar
from edgeward.errors import Invalid

TEXT = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(Invalid) as caught:
        read(text if isinstance(text, bytes) else text.encode(), "f.yaml")
    return [str(p) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("on", "on"), ("no", "no"), ("22:22", "22:22"), ("2026-01-01", "2026-01-01"),
        ("127.0.0.1:8080", "127.0.0.1:8080"), ("true", True), ("null", None), ("~", None), ("", None),
        ("10", 10), ("-7", -7), ("0x1f", 31), ("0o17", 15), ("1.5", 1.5), ("1e3", 1000.0), ("1_000", "1_000"),
        (".inf", ".inf"), ("1e999", "1e999"), ("1.2.3", "1.2.3"), ("+", "+"), ("-", "-"), (".", "."),
    ],
)  # fmt: skip
def test_plain_scalars_mean_what_yaml_1_2_says(text, value):
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


@given(DATA)
def test_json_is_read_as_the_data_it_is(data):
    text = json.dumps(data, ensure_ascii=False)
    assume('"<<"' not in text)

    assert read(text.encode(), "f") == data


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode(errors="replace")))
def test_any_bytes_are_data_or_invalid(data):
    try:
        read(data, "f.yaml")
    except Invalid as error:
        assert error.problems
        assert all(p.line is not None and p.line >= 1 and p.message for p in error.problems)


@given(st.text("abc:-{}[]&*!?|>'\"#%@, \n\t~<0123456789", max_size=80))
def test_anything_like_yaml_is_data_or_invalid(text):
    try:
        read(text.encode(), "f.yaml")
    except Invalid as error:
        assert error.problems


def test_fields_are_found_in_their_lines():
    data = read(b"a:\n  - x: 1\n    y.z:\n      q: 2\n  - x: 3\n", "f")

    assert line_of(data, "a") == 1
    assert line_of(data, "a[0].x") == 2
    assert line_of(data, "a[0].y.z") == 3
    assert line_of(data, "a[0].y.z.q") == 4
    assert line_of(data, "a[1].x") == 5
    assert line_of(data, "a[1].missing.deeper") == 5
    assert line_of(data, "a[9]") == 1


def test_a_key_that_stands_twice_names_both_lines():
    assert problems("a: 1\nb: 2\na: 3\n") == [
        "f.yaml:3: a: this key stands twice, first in line 1; keep one of them"
    ]


def test_every_problem_is_told_at_once():
    assert len(problems("a: !!python/none x\na: 1\n<<: {b: 1}\n")) == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: *nothing", "there is no &nothing"),
        ("a: &x [*x]", "there is no &x that ends before"),
        ("---\na: 1\n---\nb: 2", "one document"),
        ("[" * 100, "nested more than 64 deep"),
        ("{a: {b: " * 60, "nested more than 64 deep"),
        ("? [a, b]\n: 1", "a key is a plain text"),
        ("a: [1", "is not YAML"),
        ("a:\n\t- b", "tabs cannot indent YAML; use spaces"),
        ("a:\n  b: 1\n\tc: 2", "tabs cannot indent YAML; use spaces"),
        ("a:\t@x", "cannot start any token"),
        ("a: \x01", "is not YAML"),
        (b"a: \xff", "is not UTF-8"),
        (b"\xff\xfea\x00", "is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_named(text, sentence):
    assert sentence in problems(text)[0]


def test_aliases_are_read_and_a_billion_laughs_are_not():
    assert read(b"a: &x {k: [1]}\nb: *x\n", "f") == {"a": {"k": [1]}, "b": {"k": [1]}}
    lines = ["a0: &a0 [l,l,l,l,l,l,l,l,l,l]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "unfold to more than" in problems("\n".join(lines))[0]


def test_a_file_beyond_the_bound_is_not_even_read():
    assert "at most 64 MB" in problems(b"#" * (64 * 1024 * 1024 + 1))[0]


def test_a_byte_order_mark_is_no_part_of_the_first_key():
    assert read("\ufeffversion: 1".encode(), "f") == {"version": 1}
