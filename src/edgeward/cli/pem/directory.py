"""A directory of certificates that other servers read: each name's files change together or not at all.

``DIR/NAME`` is a link to ``DIR/.versions/NAME.FINGERPRINT``, with ``fullchain.pem``, ``cert.pem``,
``chain.pem`` and ``privkey.pem``; renaming a new link over it is the change. ``DIR/.due`` stands from before
the first change of a batch until its hook ran well, so that whatever is killed when, the hook still runs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edgeward import durable
from edgeward.errors import Conflict, Invalid, Unavailable
from edgeward.launcher.files import take_lock
from edgeward.secret import Secret

_VERSIONS: Final = ".versions"
_DUE: Final = ".due"
_DRAFT: Final = ".draft"
_SHORT: Final = 16
_END: Final = "-----END CERTIFICATE-----\n"


class PemDirectory:
    """Use ``opened``: one process at a time keeps a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._versions = path / _VERSIONS

    def holds(self) -> Mapping[str, str]:
        """Give the names that are there, each with the beginning of its fingerprint."""
        found = {}
        for link in self._path.iterdir():
            if link.name != _DRAFT and link.is_symlink() and (link / "privkey.pem").is_file():
                found[_name(link.name)] = link.readlink().name.rpartition(".")[2]
        return found

    @property
    def due(self) -> bool:
        """Whether something changed since the hook ran well the last time."""
        return (self._path / _DUE).exists()

    def begin(self) -> None:
        """A batch of changes begins."""
        (self._path / _DUE).touch(mode=0o600)
        durable.sync(self._path)

    def put(self, name: str, chain: str, key: Secret[str], fingerprint: str) -> None:
        """Have a name's files replaced, all at once, durably."""
        version = f"{_file(name)}.{fingerprint[:_SHORT]}"
        leaf = chain[: chain.index(_END) + len(_END)] if _END in chain else chain
        files = {
            "fullchain.pem": chain,
            "cert.pem": leaf,
            "chain.pem": chain[len(leaf) :],
            "privkey.pem": key.reveal(),
        }
        draft = self._versions / _DRAFT
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        for file, text in files.items():
            durable.create(draft / file, text.encode())
        durable.sync(draft)
        target = self._versions / version
        shutil.rmtree(target, ignore_errors=True)  # half of an earlier attempt, or nothing links to it
        draft.rename(target)
        durable.sync(self._versions)
        link = self._path / _DRAFT
        link.unlink(missing_ok=True)
        link.symlink_to(Path(_VERSIONS) / version)
        link.rename(self._path / _file(name))
        durable.sync(self._path)

    def done(self) -> None:
        """The hook ran well: what nobody links to any more goes."""
        (self._path / _DUE).unlink(missing_ok=True)
        linked = {link.readlink().name for link in self._path.iterdir() if link.is_symlink()}
        for version in self._versions.iterdir():
            if version.name not in linked:
                shutil.rmtree(version, ignore_errors=True)


@contextmanager
def opened(path: Path) -> Iterator[PemDirectory]:
    """Give the directory, made where it is missing (0700), for this process alone. Raises Conflict."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / _VERSIONS).mkdir(mode=0o700, exist_ok=True)
        lock = take_lock(path / ".lock")
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}; name a directory this user may write to") from error
    if lock is None:
        raise Conflict(f"another edgeward export keeps {path}; end it first")
    try:
        yield PemDirectory(path)
    except OSError as error:
        raise Unavailable(
            f"{error.filename or path}: {error.strerror}; see that its disk has space"
        ) from error
    finally:
        os.close(lock)


def _file(name: str) -> str:
    return name.replace("*", "_", 1)  # which no domain name has


def _name(file: str) -> str:
    return file.replace("_", "*", 1)
