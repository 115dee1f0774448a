"""Reads the table from a directory that only root can write, and looks at it again for each request."""

from __future__ import annotations

import errno
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from edgeward.rootd import trusted
from edgeward.rootd.frames import Asker, Request
from edgeward.rootd.table.actions import Action, Peer, read
from edgeward.rootd.table.placeholders import Wrong

_NOT_THERE = "it is not there; root is to make it"
_MOST_FILES = 256
_Seen = tuple[tuple[str, int, int, int, int, int], ...]


class Denied(Exception):
    """There is nothing of that name, or not for who asks."""


class Table:
    """``actions`` by name, and ``refused``: what is not used, with the reason, by file.

    ``faces`` are the uids of the programs that ask for the API's users.
    """

    def __init__(self, path: Path, builtin: Mapping[str, Action], faces: frozenset[int]) -> None:
        self._path = path
        self._builtin = builtin
        self._faces = faces
        self._seen: _Seen | None = None
        self.actions: Mapping[str, Action] = builtin
        self.refused: Mapping[str, str] = {}

    def decided(self, request: Request, peer: Peer) -> tuple[Action, tuple[str, ...]]:
        """Give what to run; raises Denied, or Wrong for a value that is not what it is to be."""
        action = self.actions.get(request.action)
        if action is None or not self.allows(action, request.asker, peer):  # in the same words: nobody learns
            raise Denied(f"there is no action {request.action!r} that you may ask for")  # what there is
        return action, action.rendered(request.values)

    def allows(self, action: Action, asker: Asker | None, peer: Peer) -> bool:
        if asker is not None:
            return peer.uid in self._faces and action.allowed.asker(asker)
        return action.allowed.peer(peer)

    def looked(self, request: Request | None, came: Mapping[str, object]) -> bool:
        """Whether nothing was changed, so that it need not be written down."""
        action = None if request is None else self.actions.get(request.action)
        return action is not None and action.looks and (came["outcome"], came.get("exit")) == ("done", 0)

    def knows(self, peer: Peer) -> bool:
        """Whether there is anything at all that it may ask for."""
        face = peer.uid == 0 or peer.uid in self._faces
        return face or any(action.allowed.peer(peer) for action in self.actions.values())

    def refresh(self) -> bool:
        """Take in what changed; a file, or the directory, that others can write is used no longer.

        Gives whether anything did.
        """
        try:
            within = trusted.directory(self._path)
        except trusted.Untrusted as error:
            refused = {str(self._path): _reason(error, str(self._path))}
            changed = self._seen is not None or self.refused != refused
            self._seen, self.actions, self.refused = None, self._builtin, refused
            return changed
        try:
            entries = os.listdir(within)  # noqa: PTH208 - of an open directory
            names = sorted(name for name in entries if name.endswith(".toml"))[:_MOST_FILES]
            seen = tuple(_stamp(name, within) for name in names)
            if seen == self._seen:
                return False
            self._read(names, within)
            self._seen = seen
            return True
        finally:
            os.close(within)

    def told(self) -> list[str]:
        """Give what is not used, as sentences; that the directory is not there at all is no fault."""
        if self.refused == {str(self._path): _NOT_THERE}:
            return [f"no actions are declared: {self._path} is not there"]
        return [f"{file} is not used: {reason}" for file, reason in self.refused.items()]

    def forget(self) -> None:
        """Read everything anew: users and groups may have changed."""
        self._seen = None

    def _read(self, names: list[str], within: int) -> None:
        actions, refused = dict(self._builtin), {}
        for name in names:
            shown = str(self._path / name)
            try:
                action = read(tomllib.loads(trusted.file(name, within, shown).decode()))
                if action.name in actions:
                    raise Wrong(f"name: there is another action {action.name}; choose another name")
                trusted.program(action.argv[0])
                actions[action.name] = action
            except (trusted.Untrusted, Wrong, ValueError) as error:  # not TOML, not UTF-8
                refused[shown] = _reason(error, shown)
        self.actions, self.refused = actions, refused


def _reason(error: Exception, shown: str) -> str:
    """Say why a file, or the directory of all, is not used, without the path that stands before it anyway."""
    text, cause = str(error), error.__cause__
    if text.startswith(shown) and isinstance(cause, FileNotFoundError):
        return _NOT_THERE
    if text.startswith(shown) and isinstance(cause, OSError) and cause.errno == errno.ELOOP:
        return "it is a symbolic link; put the file itself there"
    return text.removeprefix(shown).lstrip(": ")


def _stamp(name: str, within: int) -> tuple[str, int, int, int, int, int]:
    """Give what changes whenever a file, its owner or its mode does (the time of its inode among it)."""
    try:
        found = os.stat(name, dir_fd=within, follow_symlinks=False)
    except OSError:
        return (name, 0, 0, 0, 0, 0)
    return (name, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_mode, found.st_uid)
