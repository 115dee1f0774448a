"""One xDS resource as bytes: what Envoy is to hold under a name, and which declared object it comes from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

_TYPE_PREFIX = "type.googleapis.com/"


class Message(Protocol):
    """What we need of a protobuf message."""

    @property
    def DESCRIPTOR(self) -> object: ...  # noqa: N802 - protobuf's name

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...  # noqa: N802


@dataclass(frozen=True, slots=True)
class Resource:
    """A serialized resource; equal ``version`` means equal content, over restarts too.

    ``owner`` is the key of the declared object (``services/default/shop``), or empty where there is none.
    """

    type_url: str
    name: str
    body: bytes
    version: str
    owner: str = ""


def resource(message: Message, name: str, owner: str = "") -> Resource:
    """Give the message as a resource, its version being the hash of its content."""
    body = message.SerializeToString(deterministic=True)
    type_url = _TYPE_PREFIX + str(message.DESCRIPTOR.full_name)  # type: ignore[attr-defined]
    return Resource(type_url, name, body, version_of(body), owner)


def version_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:24]
