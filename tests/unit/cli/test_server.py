"""Which server is found, and to whom a token is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.cli.server import DEFAULT_API, canonical, find
from edgeward.errors import Invalid, Unavailable


@pytest.fixture
def state(tmp_path):
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "root.pem").write_text("OWN ROOT")
    (tmp_path / "admin.token").write_text("ew_own_token\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://edge.example:2443", "https://edge.example:2443"),
        ("https://edge.example/", "https://edge.example:443"),
        ("edge.example", "https://edge.example:2443"),
        ("127.0.0.1:8", "https://127.0.0.1:8"),
        ("[::1]:8", "https://[::1]:8"),
        ("https://0.0.0.0:8", "https://127.0.0.1:8"),
        ("[::]:8", "https://[::1]:8"),
        (" https://edge.example:1\n", "https://edge.example:1"),
    ],
)
def test_every_spelling_of_an_address_becomes_one(text, url):
    assert canonical(text) == url
    assert canonical(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://edge.example",
        "https://",
        "https://a/b",
        "https://u:p@a",
        "a:0x1",
        "a:99999",
        "ftp://a",
        "ä:1",
    ],
)
def test_what_is_no_address_is_said_so(text):
    with pytest.raises(Invalid, match="https://HOST:PORT"):
        canonical(text)


def test_the_sentence_on_an_address_does_not_tell_its_password():
    with pytest.raises(Invalid) as caught:
        canonical("https://me:s3cret@edge.example")

    assert "s3cret" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_invalid(text):
    try:
        assert canonical(canonical(text)) == canonical(text)
    except Invalid as error:
        assert str(error).isprintable()


def test_the_state_directory_says_everything(state):
    (state / "api").mkdir()
    (state / "api" / "address").write_text("https://127.0.0.1:7\n")
    found = find(None, state, {})

    assert (found.url, found.token.reveal(), found.ca) == ("https://127.0.0.1:7", "ew_own_token", "OWN ROOT")
    assert "ew_own_token" not in repr(found)


def test_without_an_address_the_default_is_taken(state):
    assert find(None, state, {}).url == DEFAULT_API


def test_the_environment_wins_over_the_state_directory(state, tmp_path):
    (tmp_path / "other.pem").write_text("OTHER ROOT")
    given_by_hand = {"EDGEWARD_TOKEN": "ew_other", "EDGEWARD_CA": str(tmp_path / "other.pem")}
    found = find("edge.example", state, given_by_hand)

    assert (found.url, found.token.reveal(), found.ca) == (
        "https://edge.example:2443",
        "ew_other",
        "OTHER ROOT",
    )


def test_the_own_token_is_never_shown_to_a_server_of_another_authority(state, tmp_path):
    (tmp_path / "other.pem").write_text("OTHER ROOT")

    with pytest.raises(Invalid, match="EDGEWARD_TOKEN"):
        find("edge.example", state, {"EDGEWARD_CA": str(tmp_path / "other.pem")})


def test_where_nothing_is_the_remedy_is_named(tmp_path):
    with pytest.raises(Unavailable, match="start `edgeward up` first"):
        find(None, tmp_path, {})
    with pytest.raises(Invalid, match="EDGEWARD_CA"):
        find(None, tmp_path, {"EDGEWARD_CA": str(tmp_path / "none.pem"), "EDGEWARD_TOKEN": "ew_a"})


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "ü", "x" * 501])
def test_what_is_no_token_is_not_sent(state, token):
    with pytest.raises(Invalid, match="token"):
        find(None, state, {"EDGEWARD_TOKEN": token})


def test_who_named_the_state_directory_is_not_told_to(state, tmp_path):
    for named in (True, False):
        with pytest.raises(Unavailable) as refused:
            find(None, tmp_path / "none", {}, named=named)
        assert ("--state-dir" in str(refused.value)) is not named
        assert ("--state-dir" in find(None, state, {}, named=named).elsewhere) is not named
