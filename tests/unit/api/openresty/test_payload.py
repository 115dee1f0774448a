"""The bodies: what each release of the client reads of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.api.openresty import payload
from tests.unit.api.openresty.certificates import made


def read_as(release: str, body: dict) -> tuple[str, str] | None:
    """Give chain and key as the client reads them: the first member that is not null, without a look inside."""
    for number in ("multi", "single"):
        item = body.get(f"{release}__latest_{number}")
        if item is not None:
            return item["fullchain"]["pem"], item["private_key"]["pem"]
    return None


@pytest.mark.parametrize("release", ["certificate_signed", "server_certificate", "x509_certificate"])
def test_every_release_finds_the_whole_chain_and_the_key(release):
    certificate = made("shop.example")

    body = json.loads(json.dumps(payload.hit("shop.example", certificate)))

    assert read_as(release, body) == (certificate.chain, certificate.key.reveal())


def test_a_client_that_was_told_to_prefer_one_member_only_finds_it_in_that_one():
    body = payload.hit("shop.example", made("shop.example"))

    assert body["certificate_signed__latest_multi"] == body["certificate_signed__latest_single"] is not None


@given(st.text())
def test_a_miss_is_an_object_with_a_message_and_nothing_the_client_takes_for_an_error(message):
    body = payload.miss(message)

    assert body["message"] == message
    assert not {"instructions", "form_errors"} & set(body)


def test_leaf_and_rest_make_up_the_chain():
    chain = made("shop.example").chain

    leaf, rest = payload.leaf_and_rest(chain)

    assert leaf + rest == chain
    assert leaf.count("BEGIN CERTIFICATE") == 1 == rest.count("BEGIN CERTIFICATE")
    assert payload.leaf_and_rest(leaf) == (leaf, "")
