"""Keys that wrap the keys of the store: the operator's, systemd's credentials', or made at the first start.

The database holds the keys that records are sealed with; what wraps these is never in it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeward.errors import Invalid, Unavailable
from edgeward.sealing import Seal, id_of, key_of
from edgeward.secret import Secret

SEAL_KEY: Final = "EDGEWARD_SEAL_KEY"
_BYTES: Final = 32
_MOST_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Sources:
    """Where keys may be; the first key of the first source wraps, all others open."""

    own: Path
    """``STATE_DIR/seal.key``, made where nothing else is given."""
    file: Path | None = None
    """EDGEWARD_SEAL_KEY_FILE."""
    text: Secret[str] | None = None
    """EDGEWARD_SEAL_KEY."""
    credential: Path | None = None
    """``seal.key`` in systemd's CREDENTIALS_DIRECTORY."""


def sources(state_dir: Path, environment: Mapping[str, str]) -> Sources:
    """Give where a program with this environment has its keys."""
    file, text = environment.get(f"{SEAL_KEY}_FILE"), environment.get(SEAL_KEY)
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    return Sources(
        own=state_dir / "seal.key",
        file=Path(file).absolute() if file else None,
        text=Secret(text) if text else None,
        credential=Path(credentials) / "seal.key" if credentials else None,
    )


@dataclass(frozen=True)
class Found:
    key: Secret[bytes]
    where: str


class Wrapping:
    """The wrapping keys that are held: the first wraps, any of them unwraps."""

    def __init__(self, found: Sequence[Found]) -> None:
        self._found = tuple(found)
        self._seals = {seal.key_id.hex(): seal for seal in map(_wrapper, found)}
        self.id = next(iter(self._seals))
        self.where = found[0].where

    @property
    def ids(self) -> list[str]:
        return list(self._seals)

    @property
    def places(self) -> str:
        """Where keys were found, for people."""
        return ", ".join(dict.fromkeys(found.where for found in self._found))

    def wrap(self, key: bytes, key_id: str) -> bytes:
        return self._seals[self.id].seal(key, _context(key_id))

    def unwrap(self, wrapped: bytes, wrapped_by: str, key_id: str) -> bytes:
        """Give a key; raises Invalid with the remedy where none of ours wrapped it."""
        seal = self._seals.get(wrapped_by)
        if seal is None:
            raise Invalid(
                f"the database's keys were wrapped with a key that is not given (its id is {wrapped_by};"
                f" given are those of {self.places}); put it in a line behind the present one, copy that of"
                " another controller (STATE_DIR/seal.key), or restore it from your backup"
            )
        return seal.open(wrapped, _context(key_id))

    def direct(self, key_id: bytes) -> bytes | None:
        """Give the key that itself sealed records, as in stores of the first version; None: not ours."""
        keys = (found.key.reveal() for found in self._found)
        return next((key for key in keys if id_of(key) == key_id), None)


def gathered(sources: Sources, fresh: bool) -> Wrapping:
    """Give the keys there are; where there is none, one made now, but for ``fresh`` stores only.

    Raises Invalid with the remedy, Unavailable where a file cannot be read.
    """
    found: list[Found] = []
    if sources.file is not None:
        found += _of_file(sources.file, f"EDGEWARD_SEAL_KEY_FILE ({sources.file})")
    if sources.text is not None:
        found += _of_text(sources.text.reveal(), "EDGEWARD_SEAL_KEY")
    if sources.credential is not None and sources.credential.exists():
        found += _of_file(sources.credential, f"the credential {sources.credential}")
    if sources.own.exists() or (fresh and not found):
        found.append(Found(Secret(key_of(sources.own)), str(sources.own)))
    if not found:
        raise Invalid(
            f"{sources.own} is not there, and what the database holds is sealed with it; copy it from the"
            " state directory of another controller, or restore it from your backup"
        )
    return Wrapping(found)


def _wrapper(found: Found) -> Seal:
    """Give what wraps under a key: it never does itself, as it may have sealed records directly."""
    return Seal(hmac.digest(found.key.reveal(), b"edgeward wraps the keys of the store", "sha256"))


def _of_file(path: Path, where: str) -> list[Found]:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
    except OSError as error:
        raise Unavailable(f"{where}: {error.strerror}; make it readable for this user") from error
    if len(content) == _BYTES:
        return [Found(Secret(content), where)]
    return _of_text(content.decode(errors="replace"), where)


def _of_text(text: str, where: str) -> list[Found]:
    keys = [_decoded(line.strip(), where) for line in text.splitlines() if line.strip()]
    if not keys:
        raise Invalid(f"{where} holds no key; {_REMEDY}")
    return [Found(Secret(key), where) for key in keys]


def _decoded(line: str, where: str) -> bytes:
    try:
        plain = line.translate(str.maketrans("-_", "+/"))
        key = bytes.fromhex(line) if len(line) == 2 * _BYTES else base64.b64decode(plain, validate=True)
    except (ValueError, binascii.Error) as error:
        raise Invalid(f"{where} holds something that is no key; {_REMEDY}") from error
    if len(key) != _BYTES:
        raise Invalid(f"{where} holds a key that has not 32 bytes; {_REMEDY}")
    return key


_REMEDY: Final = "write one a line, 32 random bytes in base64: openssl rand -base64 32"


def _context(key_id: str) -> str:
    return f"seal key {key_id}"
