"""Who this node is to its controller: joining with a pinned authority, and the file that remembers it."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from edgeward import durable
from edgeward.declaration.feed import PROTOCOL, Identity, Join
from edgeward.errors import Invalid, Refused, Unavailable
from edgeward.node.http import HttpClient, Reply

_SECONDS = 10.0


async def join(controllers: Sequence[str], token: str, ca_sha256: str, name: str) -> Identity:
    """Join with a join token at the first controller that answers; its authority must have this SHA-256
    (hex, over its DER).

    Raises Invalid where the pin does not match, Refused where the token is not good, Unavailable
    where no controller answers.
    """
    failure = Unavailable("no controller to join was named")
    for controller in controllers:
        try:
            return await _join(controller, token, ca_sha256, name)
        except Unavailable as error:
            failure = error
    raise failure


async def _join(controller: str, token: str, ca_sha256: str, name: str) -> Identity:
    root = await pinned_root(controller, ca_sha256)
    client = HttpClient.over_tls(controller, root, token)
    try:
        body = Join(name=name).model_dump_json()
        reply = await client.ask("POST", "/v1/nodes/join", _SECONDS, body, protocol=PROTOCOL)
    except ValidationError as error:
        raise Invalid(f"'{name}' is not a name for a node") from error
    finally:
        await client.close()
    if reply.status in (401, 403):
        raise Refused(f"the controller refuses the join token: {reply.detail}")
    if reply.status not in (200, 201):
        raise Unavailable(f"the controller cannot take this node in: {reply.detail}")
    return _identity(reply)


async def pinned_root(controller: str, ca_sha256: str) -> str:
    """Fetch the controller's authority unverified and give it, as PEM, only if it matches the pin."""
    client = HttpClient.unverified(controller)
    try:
        reply = await client.ask("GET", "/v1/ca/root", _SECONDS)
    finally:
        await client.close()
    if reply.status != 200:
        raise Unavailable(f"the controller does not give its authority: {reply.detail}")
    wanted = ca_sha256.strip().replace(":", "").lower()
    for pem in certificates_in(reply.body):
        found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        if hmac.compare_digest(found, wanted):
            return pem
    raise Invalid(
        "the controller's authority is not the one pinned by --ca-sha256; check the address and the pin,"
        " somebody may be in between"
    )


def certificates_in(pem: bytes) -> list[str]:
    """Give each certificate of a PEM bundle; raises Invalid where one is broken."""
    end = "-----END CERTIFICATE-----"
    found = []
    for piece in pem.decode("ascii", "replace").split(end)[:-1]:
        begin = piece.find("-----BEGIN CERTIFICATE-----")
        one = piece[begin:] + end
        try:
            ssl.PEM_cert_to_DER_cert(one)
        except ValueError as error:
            raise Invalid("the controller's authority is not PEM") from error
        found.append(one + "\n")
    return found


def load(path: Path) -> Identity | None:
    """Give the identity in the file, None where there is none; raises Invalid where it is broken."""
    try:
        return Identity.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, ValidationError) as error:
        raise Invalid(f"{path} is not a node's identity; remove it and join again") from error
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; make it readable for this user") from error


def save(path: Path, identity: Identity) -> None:
    """Write the identity so that a reader sees the old or the new one, and nobody else sees either."""
    try:
        durable.replace(path, identity.model_dump_json().encode())
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}") from error


def _identity(reply: Reply) -> Identity:
    try:
        return Identity.model_validate(reply.json())
    except ValidationError as error:
        raise Unavailable("the controller's answer is no identity; is it of another version?") from error
