"""Values sealed at rest: AES-256-GCM under a key whose id stands in every record."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edgeward import durable
from edgeward.errors import Invalid, Unavailable
from edgeward.parsing import Value
from edgeward.secret import Secret

_VERSION = b"\x01"
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = 1 + _KEY_ID_BYTES + _NONCE_BYTES


class Sealed(Value):
    """A declared secret, as values and the database hold it: sealed where the declaration is read.

    Two are equal whose texts are: each sealing gives another record, so the digests are compared.
    """

    sealed: str
    """A record of ``Seal``, in base64; empty where the record stored with this digest is meant."""
    digest: str
    """Tells whether two secrets are equal without opening them."""

    @classmethod
    def of(cls, text: str, seal: Seal) -> Self:
        digest = seal.digest(text.encode())
        return cls(
            sealed=base64.b64encode(seal.seal(text.encode(), _declared(digest))).decode(), digest=digest
        )

    def again(self, seal: Seal) -> Self:
        """Give it sealed with the seal's present key; raises Invalid where it does not open."""
        if base64.b64decode(self.sealed).startswith(seal.prefix):
            return self
        record = seal.seal(self.reveal(seal).reveal().encode(), _declared(self.digest))
        return type(self)(sealed=base64.b64encode(record).decode(), digest=self.digest)

    def reveal(self, seal: Seal) -> Secret[str]:
        """Give the text; raises Invalid where it was sealed under another key."""
        return Secret(seal.open(base64.b64decode(self.sealed), _declared(self.digest)).decode())

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> dict[str, Any]:
        """Describe what people write and are shown."""
        kept = {"type": "object", "properties": {"kept": {"type": "string"}}, "required": ["kept"]}
        return {"anyOf": [{"type": "string", "format": "password"}, kept], "title": "Secret"}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return "Sealed(****)"

    __str__ = __repr__


def _declared(digest: str) -> str:
    return f"declared:{digest}"


def new_key() -> bytes:
    return AESGCM.generate_key(256)


def id_of(key: bytes) -> bytes:
    """Give what stands for a key in records."""
    return hashlib.sha256(b"edgeward seal key id\0" + key).digest()[:_KEY_ID_BYTES]


class Seal:
    """Seals and opens byte strings; a record is version (1) | key id (8) | nonce (12) | ciphertext.

    ``context`` is bound as associated data, so that a record copied to another place does not open. One key
    seals; others may be held to open what was sealed with them.
    """

    def __init__(self, key: bytes) -> None:
        self.hold(key, (), hmac.digest(key, b"edgeward digests of declared secrets", "sha256"))

    def hold(self, key: bytes, others: Iterable[bytes], digesting: bytes) -> None:
        """Seal with ``key`` from now on, open with all, and make digests with ``digesting``."""
        self._digesting = digesting
        self._deriving = hmac.digest(key, b"edgeward derives keys", "sha256")
        self._opening = {id_of(one): AESGCM(one) for one in (*others, key)}
        self._sealing = id_of(key)

    @property
    def key_id(self) -> bytes:
        return self._sealing

    @property
    def prefix(self) -> bytes:
        """What every record begins with that is sealed with the present key."""
        return _VERSION + self._sealing

    def seal(self, plain: bytes, context: str) -> bytes:
        key_id, nonce = self._sealing, os.urandom(_NONCE_BYTES)
        box = self._opening[key_id].encrypt(nonce, plain, context.encode())
        return b"".join((_VERSION, key_id, nonce, box))

    def digest(self, plain: bytes) -> str:
        """Tell equal texts by an equal digest, which is worth nothing without the key."""
        return hmac.digest(self._digesting, plain, "sha256").hex()[:32]

    def opens(self, record: bytes) -> bool:
        """Say whether a record names a key that is held; whether it was changed is not looked at."""
        return record[1 : 1 + _KEY_ID_BYTES] in self._opening

    def derived(self, purpose: str) -> bytes:
        """Give a key for something else, that lives as long as the present key."""
        return hmac.digest(self._deriving, purpose.encode(), "sha256")

    def open(self, record: bytes, context: str) -> bytes:
        """Give the plain bytes back; raises Invalid where the record is not ours or was changed."""
        if len(record) < _HEADER_BYTES or record[:1] != _VERSION:
            raise Invalid(f"{context}: not a sealed record")
        aead = self._opening.get(record[1 : 1 + _KEY_ID_BYTES])
        if aead is None:
            raise Invalid(f"{context}: sealed under another key")
        nonce = record[1 + _KEY_ID_BYTES : _HEADER_BYTES]
        try:
            return aead.decrypt(nonce, record[_HEADER_BYTES:], context.encode())
        except InvalidTag as error:
            raise Invalid(f"{context}: the sealed record was changed") from error


def key_of(path: Path) -> bytes:
    """Give the key of a file (32 bytes, mode 0600), made on first use; safe against races."""
    try:
        if not path.exists():
            _create(path)
        key = path.read_bytes()
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; make it usable for this user") from error
    if len(key) != 32:
        raise Invalid(f"{path} is not a seal key of 32 bytes; restore it from your backup")
    return key


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        durable.create(draft, new_key())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # unlike rename, never replaces the key another process just made
    finally:
        draft.unlink(missing_ok=True)
    durable.sync(path.parent)  # what is sealed next is worth nothing without the key
