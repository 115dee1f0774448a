"""What is written as YAML is read back as the same."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from edgeward.declaration import notation

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(
        [
            "yes",
            "no",
            "on",
            "null",
            "~",
            "",
            "1e3",
            "0o17",
            "0x1F",
            "22:22",
            "2026-01-01",
            "1_000",
            ".5",
            "+1",
        ]
    ),
    st.from_regex(r"[-+.0-9eEx_o:]{1,6}", fullmatch=True),
)
leaves = st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), texts)
data = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(texts, data, max_size=5))
@example({"a": "-----BEGIN CERTIFICATE-----\nab==\n-----END CERTIFICATE-----\n"})
@example({"a": " leading\nand trailing \n\n"})
def test_what_is_written_is_read_back_as_the_same(document):
    assert notation.read(notation.write(document).encode(), "test") == document


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_stay_numbers(number):
    assert notation.read(notation.write({"a": number}).encode(), "test") == {"a": number}
