"""The one door to pluto: Libreswan's own programs, which ask it over its socket from outside."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgeward.errors import Invalid, Unavailable

_SECONDS: Final = 10.0
_NO_PLUTO: Final = 33
_MOST_BYTES: Final = 64 * 2**20
_REFUSED: Final = re.compile(r"did not load properly|cannot load config|syntax error|duplicate key")


class Pluto:
    """``place``: rootd's directory of its namespace, which shows where Libreswan's programs are, too."""

    def __init__(self, place: Path) -> None:
        self.own = place / "own"
        self.log = self.own / "pluto.log"
        self.pid = place / "run" / "pluto.pid"
        self._control = place / "pluto.ctl"
        self._programs = place / "programs"

    async def whack(self, *words: str) -> str:
        """Ask it; gives what it says, raises Unavailable where it does not run or answer."""
        code, said = await self._run("whack", ("--ctlsocket", str(self._control), *words))
        if code == _NO_PLUTO:
            raise Unavailable(f"pluto does not answer: {_short(said)}")
        return said

    async def add(self, section: str, text: str) -> None:
        """Have it know a connection in this way and no other; raises Invalid where it does not take it."""
        file = self.own / f"{section}.conf.new"
        seen = self._size()
        write(file, text)
        try:
            words = ("--config", str(file), "--ctlsocket", str(self._control), section)
            code, said = await self._run("addconn", words)
        finally:
            with suppress(FileNotFoundError):
                file.unlink()
        if "connect" in said and "failed" in said:
            raise Unavailable(f"pluto does not answer: {_short(said)}")
        if code != 0 or _REFUSED.search(said):
            raise Invalid(f"Libreswan does not take it: {_short(said or self._since(seen, section))}")

    async def delete(self, sections: Sequence[str]) -> None:
        for section in sections:
            await self.whack("--name", section, "--delete")

    async def _run(self, program: str, words: Sequence[str]) -> tuple[int, str]:
        at = asyncio.subprocess
        try:
            process = await asyncio.create_subprocess_exec(
                self._programs / program, *words, env={}, cwd="/",
                stdin=at.DEVNULL, stdout=at.PIPE, stderr=at.STDOUT,
            )  # fmt: skip
        except OSError as error:
            raise Unavailable(f"{self._programs / program} does not start: {error.strerror}") from error
        try:
            async with asyncio.timeout(_SECONDS):
                said = (await process.communicate())[0]
        except TimeoutError:
            raise Unavailable(f"pluto does not answer within {_SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return process.returncode or 0, said[:_MOST_BYTES].decode(errors="replace")

    def _size(self) -> int:
        try:
            return self.log.stat().st_size
        except OSError:
            return 0

    def _since(self, seen: int, section: str) -> str:
        """Give what its log says of a connection: addconn keeps the reason to itself."""
        try:
            with self.log.open("rb") as log:
                log.seek(seen)
                lines = log.read(65_536).decode(errors="replace").splitlines()
        except OSError:
            return "see its log"
        found = [line.partition(f'"{section}": ')[2] for line in lines if f'"{section}": ' in line]
        return next((line for line in reversed(found) if "fail" in line or "ERROR" in line), "see its log")


def write(file: Path, text: str) -> None:
    """Have a file of ours say this, all of it or nothing, for us and the daemon; raises Unavailable."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "w") as following:
            following.write(text)
        draft.rename(file)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise Unavailable(f"{file} cannot be written: {error.strerror}") from error


def _short(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines[-1] if lines else "it does not say why")[:300]
