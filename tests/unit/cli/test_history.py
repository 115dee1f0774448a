"""What part of the history is meant on the command line, in one word as messages print it or in several."""

from __future__ import annotations

import pytest

from edgeward.cli.history import asked
from edgeward.errors import Invalid


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (("", "", None), (None, None, None)),
        (("", "", "red"), (None, None, "red")),
        (("services", "", "red"), ("services", None, "red")),
        (("service", "shop", None), ("services", "shop", None)),
        (("services/red/shop", "", None), ("services", "shop", "red")),
        (("services/red/shop", "", "red"), ("services", "shop", "red")),
        (("service/shop", "", "red"), ("services", "shop", "red")),
        (("domains/default/*.customers.example", "", None), ("domains", "*.customers.example", "default")),
        (("listen", "", None), ("listen", "listen", None)),
        (("listen/default/listen", "", None), ("listen", "listen", None)),
    ],
)
def test_an_object_is_named_in_one_word_or_in_two(said, meant):
    kind, name, project = meant

    assert asked(*said) == {"kind": kind, "name": name, "project": project}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (("gadgets/red/x", "", None), "there is no kind 'gadgets'"),
        (("tokens/x", "", None), "tokens have no history"),
        (("services/red/shop", "shop", None), "in one word"),
        (("services/red/shop", "", "blue"), "leave --project out"),
        (("services/", "", None), "in one word"),
    ],
)
def test_what_has_no_history_is_said_so(said, sentence):
    with pytest.raises(Invalid, match=sentence):
        asked(*said)
