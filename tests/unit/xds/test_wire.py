from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.errors import Invalid
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource
from edgeward.xds.wire import read_request, size_of, write_response

texts = st.text(max_size=300)


@given(
    texts,
    st.lists(texts, max_size=5),
    st.lists(texts, max_size=5),
    st.dictionaries(texts, texts, max_size=5),
    texts,
    st.none() | texts,
)
def test_requests_are_read_as_protobuf_writes_them(
    type_url: str,
    subscribe: list[str],
    unsubscribe: list[str],
    versions: dict[str, str],
    nonce: str,
    error: str | None,
) -> None:
    message = m.DeltaDiscoveryRequest(
        type_url=type_url,
        resource_names_subscribe=subscribe,
        resource_names_unsubscribe=unsubscribe,
        initial_resource_versions=versions,
        response_nonce=nonce,
    )
    message.node.id = "edge-1"
    message.node.metadata.update({"a": [1, 2.5, None]})
    if error is not None:
        message.error_detail.code = 13
        message.error_detail.message = error

    request = read_request(message.SerializeToString())

    assert (request.type_url, request.subscribe, request.unsubscribe) == (type_url, subscribe, unsubscribe)
    assert (request.versions, request.nonce, request.error) == (versions, nonce, error)


@given(st.integers(min_value=0, max_value=10**15 - 1) | st.sampled_from(["", "-1", "x", "9" * 20, 3.0]))
def test_the_generation_is_read_from_the_nodes_metadata(generation: object) -> None:
    message = m.DeltaDiscoveryRequest(type_url="t")
    message.node.id = "edge-1"
    said = str(generation) if isinstance(generation, int) else generation
    message.node.metadata.update({"other": "5", "generation": said})
    found = read_request(message.SerializeToString()).generation

    assert found == (generation if isinstance(generation, int) else None)
    assert read_request(m.DeltaDiscoveryRequest(type_url="t").SerializeToString()).generation is None


@given(
    st.lists(st.tuples(texts, texts, st.binary(max_size=500)), max_size=4),
    st.lists(texts, max_size=4),
    texts,
)
def test_responses_are_written_as_protobuf_reads_them(
    content: list[tuple[str, str, bytes]], removed: list[str], nonce: str
) -> None:
    resources = [Resource("type.googleapis.com/x.Y", name, body, version) for name, version, body in content]

    data = write_response("type.googleapis.com/x.Y", nonce, resources, removed)
    message = m.DeltaDiscoveryResponse.FromString(data)

    assert [(r.name, r.version, r.resource.value) for r in message.resources] == content
    assert {r.resource.type_url for r in message.resources} <= {"type.googleapis.com/x.Y"}
    assert list(message.removed_resources) == removed
    assert (message.type_url, message.nonce) == ("type.googleapis.com/x.Y", nonce)


@given(texts, st.binary(max_size=5000))
def test_a_resource_is_never_larger_than_estimated(name: str, body: bytes) -> None:
    resource = Resource(m.SECRET, name, body, "v" * 24)
    with_it = write_response(m.SECRET, "1", [resource], [])

    assert len(with_it) - len(write_response(m.SECRET, "1", [], [])) <= size_of(resource)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(Invalid):
        read_request(data)


def test_names_that_are_no_utf8_come_through() -> None:
    name = b"\xff\xfe.example"
    request = read_request(b"\x1a" + bytes([len(name)]) + name)

    assert request.subscribe[0].encode("utf-8", "surrogateescape") == name


@pytest.mark.parametrize("data", [b"\x1a\x05abc", b"\x1a", b"\xff" * 12, b"\x1b\x00", b"\x1a\x80"])
def test_broken_messages_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        read_request(data)
