"""One document: read whole or refused with every problem, and written so that it reads back."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.declaration import document, notation
from edgeward.declaration.model import Key, Stored
from edgeward.declaration.references import reader
from edgeward.declaration.secrets import Carried
from edgeward.errors import Invalid
from edgeward.kinds import KINDS
from tests.unit.declaration.examples import EXAMPLE, documents

WORDS = ["version", "listen", "cache", "issuers", "domains", "services", "routes", "name", "project", "hosts",
         "backends", "url", "tls", "ca", "file", "env", "http", "limits", "acme", "local", "paths"]  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just("shop.example"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


def parse(text: str, **given) -> document.Document:
    return document.parse(text.encode(), "edge.yaml", KINDS, **given)


def problems(text: str, **given) -> list[str]:
    with pytest.raises(Invalid) as caught:
        parse(text, **given)
    return [str(p) for p in caught.value.problems]


def test_a_document_declares_its_objects_with_their_lines():
    found = parse(EXAMPLE)

    assert [(str(d.key), d.line) for d in found.objects] == [
        ("listen/default/listen", 2),
        ("domains/default/shop.example", 4),
        ("domains/default/*.customers.example", 5),
        ("services/default/shop", 7),
        ("routes/default/r1", 10),
    ]


def test_every_problem_is_told_with_its_line_and_field():
    text = """version: 1
listen: {https: "1.2.3.4"}
domain: []
domains:
  - {name: -bad-, issuer: local}
  - {name: shop.example, issuer: local, color: red}
  - {name: SHOP.example.}
  - {name: shop.example, project: other}
services:
  - name: shop
    backends:
      - "http://a:80"
      - "ftp://b"
routes: {hosts: [shop.example]}
"""
    found = problems(text)

    assert [p.partition(": ")[0] for p in found] == [f"edge.yaml:{n}" for n in (2, 3, 5, 6, 8, 10 + 3, 14)]
    assert [p.split(": ")[1] for p in found] == [
        "listen.https",
        "domain",
        "domains[0].name",
        "domains[1].color",
        "domains[3]",
        "services[0].backends[1]",
        "routes",
    ]
    assert "declared twice, first in line 7" in found[4]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "edge.yaml:1: the document is empty"),
        ("# nothing\n", "the document is empty"),
        ("- a", "a document is a mapping"),
        ("text", "a document is a mapping"),
        ("domains: []", "version: this field is required; write version: 1"),
        ("version: 2", "version: this Edgeward reads version 1"),
        ("version: true", "version: this Edgeward reads version 1"),
        ("version: '1'", "version: this Edgeward reads version 1"),
        ("version: 1\ndomains: {a: 1}", "domains: give a list of domains"),
        ("version: 1\ndomains: [1]", "domains[0]: give a mapping of fields here"),
        ("version: 1\nlisten: []", "listen: give a mapping of fields here"),
    ],
)
def test_what_is_no_document_is_said_so(text, sentence):
    assert any(sentence in p for p in problems(text))


def test_an_empty_section_declares_nothing():
    assert parse("version: 1\ndomains:\nroutes: []\n").objects == ()


@given(ANYTHING)
def test_any_data_is_a_document_or_invalid(data):
    try:
        document.from_data(data, "f", KINDS)
    except Invalid as error:
        assert error.problems
        assert all(p.message and p.field.isprintable() for p in error.problems)


@given(documents())
def test_what_is_written_reads_back_as_the_same(data):
    first = document.from_data(data, "f", KINDS).objects
    written = document.written([(d.key, d.value) for d in first], KINDS)
    again = document.from_data(written, "f", KINDS).objects

    assert {d.key: d.value for d in again} == {d.key: d.value for d in first}


@given(documents(), documents())
def test_what_is_known_already_is_given_as_that_very_value(before, data):
    known = {d.key: Stored(d.key, d.value, "api", 1) for d in document.from_data(before, "f", KINDS).objects}

    found = document.from_data(data, "f", KINDS, known=known).objects

    assert found == document.from_data(data, "f", KINDS).objects
    for one in found:
        stored = known.get(one.key)
        assert stored is None or (stored.value is one.value) == (stored.value == one.value)


@pytest.mark.parametrize("reference", ["{file: ca.pem}", "{env: BACKEND_CA}"])
def test_a_reference_is_read_where_a_field_allows_it(reference, tmp_path):
    text = (
        f"version: 1\nservices: [{{name: s, backends: [{{url: 'https://b', tls: {{ca: {reference}}}}}]}}]\n"
    )
    pem = _pem()
    (tmp_path / "ca.pem").write_text(pem)

    found = parse(text, read_secret=reader(tmp_path, {"BACKEND_CA": pem}))

    assert found.objects[0].value.backends[0].tls.ca == pem


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("{file: missing.pem}", "No such file"),
        ("{file: .}", "Is a directory"),
        ("{env: MISSING}", "no environment variable MISSING"),
        ("{other: x}", "write the text itself, {file: PATH} or {env: NAME}"),
        ('{file: "\\0"}', "not a readable text file"),
    ],
)
def test_a_reference_that_leads_nowhere_is_named(reference, sentence, tmp_path):
    text = f"version: 1\nservices:\n- name: s\n  backends: [{{url: 'https://b', tls: {{ca: {reference}}}}}]\n"

    (found,) = problems(text, read_secret=reader(tmp_path, {}))

    assert found.startswith("edge.yaml:4: services[0].backends[0].tls.ca: ")
    assert sentence in found


@given(documents())
def test_what_is_sent_of_a_document_says_what_it_says(data):
    sent = json.loads(json.dumps(document.sendable(data, KINDS, _nothing)))

    assert document.from_data(sent, "", KINDS).objects == document.from_data(data, "", KINDS).objects


def test_references_and_secrets_are_sent_as_the_texts_they_stand_for(tmp_path):
    pem = _pem()
    (tmp_path / "key").write_text("YWJj\n")
    text = (
        "version: 1\n"
        "issuers: [{name: ca, acme: {directory: 'https://ca.example', eab: {kid: k, hmac_key: {file: key}}}}]\n"
        "services: [{name: s, backends: [{url: 'https://b', tls: {ca: {env: CA}}}, 'http://plain']}]\n"
        "alarms: {authorization: {kept: 00112233445566778899aabbccddeeff}}\n"
    )
    data = notation.read(text.encode(), "f")

    sent = document.sendable(data, KINDS, reader(tmp_path, {"CA": pem}))

    assert sent["issuers"][0]["acme"]["eab"]["hmac_key"] == "YWJj"
    assert sent["services"][0]["backends"] == [{"url": "https://b", "tls": {"ca": pem}}, "http://plain"]
    assert sent["alarms"] == {"authorization": {"kept": "00112233445566778899aabbccddeeff"}}
    assert data["services"][0]["backends"][0]["tls"]["ca"] == {"env": "CA"}


@given(ANYTHING)
def test_any_data_is_sent_as_it_is_or_invalid(data):
    try:
        sent = document.sendable(data, KINDS, _nothing)
    except Invalid:
        return
    assert isinstance(data, dict)
    assert sent == data


@pytest.mark.parametrize("text", ["'version: 1'", "[1]", "", "5"])
def test_what_is_no_mapping_is_not_sent(text):
    with pytest.raises(Invalid, match="begin with version: 1"):
        document.sendable(notation.read(text.encode(), "f"), KINDS, _nothing)


def test_a_variable_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(Invalid, match="CA is not UTF-8"):
        reader(tmp_path, {"CA": "\udcff"})("env", "CA")


def _nothing(kind: str, name: str) -> str:
    raise Invalid(f"there is no {kind} {name}")


def test_over_the_api_no_reference_is_read(tmp_path):
    text = (
        "version: 1\nservices: [{name: s, backends: [{url: 'https://b', tls: {ca: {file: /etc/passwd}}}]}]\n"
    )

    assert "not read over the API" in problems(text)[0]


def test_the_environment_wins_over_the_document():
    environment = {
        "EDGEWARD_LISTEN__HTTPS": "127.0.0.1:1,[::1]:2",
        "EDGEWARD_LISTEN__LIMITS__REQUEST_HEADERS": "50",
        "EDGEWARD_LISTEN__HTTP": "[::1]:80",
        "EDGEWARD_CACHE__RESIDENT": "77",
        "EDGEWARD_STATE_DIR": "/elsewhere",
    }
    found = {
        d.key.kind: d.value
        for d in parse("version: 1\nlisten: {http: '127.0.0.1:9'}", environment=environment).objects
    }

    assert found["listen"].https == ("127.0.0.1:1", "[::1]:2")
    assert found["listen"].http == ("[::1]:80",)
    assert found["listen"].limits.request_headers == 50
    assert found["cache"].resident == 77


def test_a_wrong_setting_of_the_environment_names_its_field():
    (found,) = problems("version: 1\nlisten: {}", environment={"EDGEWARD_LISTEN__LIMITS__NONSENSE": "1"})

    assert "listen.limits.nonsense" in found


def test_an_object_of_the_api_takes_name_and_project_from_its_address():
    key = Key("domains", "tenant", "shop.example")

    found = document.read_object({"on_demand": True}, key, KINDS["domains"], Carried())

    assert (found.value.name, found.value.project) == ("shop.example", "tenant")
    assert (
        document.read_object({"name": "Shop.Example."}, key, KINDS["domains"], Carried()).value.name
        == "shop.example"
    )
    with pytest.raises(Invalid, match="project: the address of the object says 'tenant'"):
        document.read_object({"project": "other"}, key, KINDS["domains"], Carried())


def test_a_hundred_thousand_domains_are_read_in_some_seconds():
    text = b"version: 1\ndomains:\n" + b"".join(b"  - {name: d%d.example.com}\n" % i for i in range(20_000))
    started = time.process_time()

    assert len(document.parse(text, "f", KINDS).objects) == 20_000
    assert (
        time.process_time() - started < 6
    )  # a fifth of them; generous, to see only what grows with the square


def test_no_more_than_a_thousand_problems_are_told():
    text = "version: 1\ndomains:\n" + "  - {name: _}\n" * 3000
    found = problems(text)

    assert len(found) == 1001
    assert "and 2,000 more problems" in found[-1]


def _pem() -> str:
    from edgeward.certificates.local.signing import new_root

    return new_root(1_800_000_000.0).pem
