"""The normaliser: canonical, idempotent, and raising nothing but Invalid."""

from __future__ import annotations

import contextlib
import re

import idna
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeward import domain_name
from edgeward.domain_name import normalise, normalise_pattern, wildcard_of
from edgeward.errors import Invalid

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(
    lambda label: label[2:4] != "--"
)
plain_names = st.lists(labels, min_size=1, max_size=5).flatmap(
    lambda head: st.from_regex(r"[a-z]{2,10}", fullmatch=True).map(lambda top: ".".join([*head, top]))
)
hostile = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="a.-*_%:0\x00 \t\n[]/xn１２．。｡ßüКİ\u200d\u00ad\ud800", max_size=80),
    st.lists(st.sampled_from(["xn--", "a", "xn--a", "XN--BCHER-KVA", "..", ".", "*", "1", "0x1", "ü"])).map(
        ".".join
    ),
    st.ip_addresses().map(str),
)


@given(hostile)
@example("xn--" + "9" * 59 + ".example")
@example("\ud800.example")
@example("a" * 2000)
@example("ü" * 2000)
@example("*." * 200 + "example")
def test_whatever_comes_in_is_refused_as_invalid_or_comes_out_canonical(text):
    for parser in (normalise, normalise_pattern):
        try:
            name = parser(text)
        except Invalid as error:
            assert str(error).isprintable()
            continue
        exact = name.removeprefix("*.") if parser is normalise_pattern else name
        assert len(name) <= 253
        assert re.fullmatch(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{1,63}", exact)
        assert not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", exact.rpartition(".")[2])
        assert parser(name) == name


@given(plain_names, st.randoms(use_true_random=False), st.booleans())
def test_case_and_a_trailing_dot_make_no_difference(name, random, dot):
    spelling = "".join(random.choice((c.lower(), c.upper())) for c in name)

    assert normalise(spelling + "." * dot) == name


@given(st.lists(st.text(alphabet="abcäöüéñçżабвгδεζ中文字", min_size=1, max_size=12), min_size=1, max_size=3))
def test_an_international_name_and_its_ascii_form_are_one_name(parts):
    try:
        ascii_form = normalise(".".join([*parts, "example"]))
    except Invalid:
        return  # a mix that IDNA itself refuses

    assert normalise(ascii_form) == ascii_form
    assert normalise(ascii_form.upper()) == ascii_form
    assert normalise(idna.decode(ascii_form)) == ascii_form


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("Shop.Example.", "shop.example"),
        ("XN--BCHER-KVA.EXAMPLE", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("a．b。example", "a.b.example"),
        ("a.example。", "a.example"),
        ("１２.example", "12.example"),
        ("\u212a.example", "k.example"),  # the Kelvin sign
        ("straße.example", "xn--strae-oqa.example"),
        ("1.2.3.example", "1.2.3.example"),
        ("xn--p1ai.xn--p1ai", "xn--p1ai.xn--p1ai"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_known_spellings_become_canonical(spelling, canonical):
    assert normalise(spelling) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            "..",
            "localhost",
            "a..b",
            ".a.example",
            "a.example..",
            "*.example.com",
            "*",
            "a.*.example",
        ),
        *(
            "1.2.3.4",
            "1.2.3.4.",
            "[::1]",
            "::1",
            "fe80::1%eth0",
            "1.2.3.0x4",
            "１.２.３.４",
            "::ffff:1.2.3.4",
        ),
        *(
            "a.0x",
            "a.123",
            "127.1",
            "0x7f000001",
            "a\x00.example",
            "a.example\n",
            " a.example",
            "a b.example",
        ),
        *("a_b.example", "-a.example", "a-.example", "a%2eb.example", "a％b.example", "a.example:443"),
        *("xn--a.example", "xn--.example", "XN--A.example", "xn--bcher-kv.example", "ab--c.example"),
        *("xn--abc-.example", "xn--a-ecp.ru.xn--0.example", "\u200d.example", "a\u200bb\u202e.example"),
        *(
            "a" * 64 + ".example",
            ".".join(["a" * 63] * 4),
            "\ud800.example",
            "https://a.example",
            "a/b.example",
        ),
    ],
)
def test_what_no_public_certificate_carries_is_refused(text):
    with pytest.raises(Invalid):
        normalise(text)


def test_a_wildcard_is_a_pattern_and_not_a_name():
    assert normalise_pattern("*.Customers.Example.") == "*.customers.example"
    for text in ("*.example", "*.*.example.com", "a.*.example.com", "*", "*.", "*a.example.com", "*.1.2.3.4"):
        with pytest.raises(Invalid):
            normalise_pattern(text)


@pytest.mark.parametrize("text", ["*.*.x", "*.x", "*.1.2.3.4", "*..x.example"])
def test_a_wildcard_that_is_none_is_named_as_it_was_written(text):
    with pytest.raises(Invalid) as refused:
        normalise_pattern(text)

    assert str(refused.value).startswith(f"'{text}'")


def test_a_pattern_is_no_longer_than_a_name():
    suffix = ".".join(["a" * 63, "a" * 63, "a" * 63, "a" * 61])

    assert normalise(suffix) == suffix
    with pytest.raises(Invalid):
        normalise_pattern("*." + suffix)


@given(plain_names)
def test_the_wildcard_of_a_name_covers_one_label(name):
    wildcard = wildcard_of(name)

    assert (wildcard is None) == (name.count(".") == 1)
    if wildcard is not None:
        assert normalise_pattern(wildcard) == wildcard
        assert name.split(".", 1)[1] == wildcard[2:]


@given(hostile)
def test_what_is_printed_of_a_name_stays_on_its_line(text):
    shown = domain_name.printable(text)

    assert shown.isprintable()
    with contextlib.suppress(UnicodeEncodeError):
        assert len(shown.encode()) < 1000
