"""Files of their owner alone, there whole or not at all, whatever is killed and whenever power fails."""

from __future__ import annotations

import os
from pathlib import Path


def create(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, through to the disk; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes) -> None:
    """Have readers see this in place of what was there, or that, and nothing between; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    create(draft, content)
    draft.replace(path)


def sync(directory: Path) -> None:
    """Have the names in a directory outlive a power cut; raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
