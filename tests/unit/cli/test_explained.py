"""What is meant on the command line is asked of the API: names, URLs, and things of other kinds."""

from __future__ import annotations

import pytest

from edgeward.cli.explained import question_about
from edgeward.errors import Invalid


@pytest.mark.parametrize(
    ("subject", "path", "where"),
    [
        ("shop.example", "/v1/explain/shop.example", {"path": "/"}),
        ("-", "/v1/explain/-", {"path": "/"}),
        ("domain/default/shop.example", "/v1/explain/shop.example", {"path": "/"}),
        (
            "https://shop.example:8443/cart?x=1",
            "/v1/explain/shop.example",
            {"path": "/cart", "scheme": "https", "port": 8443},
        ),
        ("http://shop.example", "/v1/explain/shop.example", {"path": "/", "scheme": "http", "port": None}),
        ("node/edge1", "/v1/explain/nodes/edge1", {}),
        ("actions/backup", "/v1/explain/actions/backup", {"node": None}),
        ("vpn/office", "/v1/explain/vpn/office", {"project": None}),
        ("shop.example/", "/v1/explain/shop.example", {"path": "/"}),
        ("shop.example/cart?x=1", "/v1/explain/shop.example", {"path": "/cart"}),
        ("certificates/default/shop.example", "/v1/explain/shop.example", {"path": "/"}),
        ("vpn/red/office", "/v1/explain/vpn/office", {"project": "red"}),
    ],
)
def test_each_way_to_say_it(subject, path, where):
    found = question_about(subject, None, None, None)

    assert (found.path, dict(found.where)) == (path, where)


@pytest.mark.parametrize(
    "subject", ["gadget/x", "routes/default/shop", "node/", "ftp://shop.example", "http://[x", "https://"]
)
def test_what_nothing_can_be_said_of_is_refused(subject):
    with pytest.raises(Invalid):
        question_about(subject, None, None, None)
