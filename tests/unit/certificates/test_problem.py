"""A problem is a bounded line of what can be shown, whatever was said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates.problem import one_line


@given(st.text(max_size=2000))
def test_any_text_becomes_a_bounded_line_that_stays_as_it_is(text):
    line = one_line(text)

    assert line.isprintable() and len(line) <= 500
    assert one_line(line) == line


def test_words_stay_apart_and_nothing_controls_a_terminal():
    assert one_line("no account\r\nat\x00 the \x1b[31mCA") == "no account at the [31mCA"
