"""Faults put between a program and the kernel by strace: the program itself is the one that ships."""

from __future__ import annotations

from pathlib import Path

SYNCS = "fdatasync,fsync"


def killed_at(strace: str, calls: str, nth: int, trace: Path) -> tuple[str, ...]:
    """Give the wrapper that kills a program as the Nth of these calls of any one thread begins.

    The program stays our child (``-D``). Not with ``--seccomp-bpf``: strace 6.1 then sends no signal.
    """
    return (*_traced(strace, calls, trace), "-e", f"inject={calls}:signal=KILL:when={nth}")


def failing(strace: str, calls: str, error: str, when: str, trace: Path) -> tuple[str, ...]:
    """Give the wrapper that fails these calls with ``error``; ``when`` as in strace(1): ``5..7``, ``3+``."""
    return (*_traced(strace, calls, trace), "-e", f"inject={calls}:error={error}:when={when}")


def delayed(strace: str, calls: str, seconds: float, trace: Path) -> tuple[str, ...]:
    """Give the wrapper that makes each of these calls wait first."""
    return (*_traced(strace, calls, trace), "-e", f"inject={calls}:delay_enter={int(seconds * 1e6)}")


def _traced(strace: str, calls: str, trace: Path) -> tuple[str, ...]:
    return (strace, "-D", "-f", "-y", "-qq", "-o", str(trace), "-e", f"trace={calls}")


def injected(trace: Path) -> int:
    """Give how many calls were failed or delayed on purpose, or one where the program was killed."""
    text = trace.read_text(errors="replace") if trace.exists() else ""
    return text.count("(INJECTED)") + text.count("(DELAYED)") + text.count("killed by SIGKILL") // 2
