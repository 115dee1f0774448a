"""The key of the sealed copy: kept beside it, wrapped by a key that may be somewhere else altogether."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edgeward import durable
from edgeward.errors import Invalid, Unavailable
from edgeward.log import logger
from edgeward.sealing import Seal, new_key
from edgeward.wrapping import Sources, Wrapping, gathered

_FILE: Final = "copy.key"
_NAME: Final = "copy"
_log = logger("edgeward.node.sealed_copy.key")


def seal(sources: Sources, directory: Path) -> Seal:
    """Give the copy's seal; made at the first start, and where its key does not open any more: the copy is
    then begun anew, from what the controller says. Wrapped again where the wrapping key is another one now.
    """
    before = sources.own.exists()
    wrapping = gathered(sources, fresh=True)
    path = directory / _FILE
    try:
        if path.exists():
            wrapped_by, _, wrapped = path.read_bytes().partition(b" ")
            key = wrapping.unwrap(wrapped, wrapped_by.decode("ascii", "replace"), _NAME)
            if wrapped_by.decode() == wrapping.id:
                return Seal(key)
        else:
            key = _first(sources, directory, before)
    except Invalid as error:
        _log.error("the sealed copy cannot be opened; beginning anew", reason=str(error))
        key = new_key()
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; make it readable for this user") from error
    _write(path, wrapping, key)
    return Seal(key)


def _first(sources: Sources, directory: Path, before: bool) -> bytes:
    """Give the key of a copy that has no key of its own: versions before sealed it with the wrapping key."""
    if before and (directory / "last-good.db").exists():
        key = sources.own.read_bytes()
        if len(key) == len(new_key()):
            return key
    return new_key()


def _write(path: Path, wrapping: Wrapping, key: bytes) -> None:
    try:
        durable.replace(path, wrapping.id.encode() + b" " + wrapping.wrap(key, _NAME))
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; see that this user may write there") from error
