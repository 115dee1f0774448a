"""Work that may never end, on threads that nobody has to wait for: not even a program that ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

T = TypeVar("T")
_LOOK_AGAIN: Final = 0.05


class Threads:
    """At most ``most`` at once; one whose work hangs keeps its place. ``concurrent.futures`` would have the
    program wait for all of them at its end.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._busy: set[threading.Thread] = set()

    async def run(self, work: Callable[[], T]) -> T:
        """Give what the work gives, or raise what it raises; who is cancelled leaves it to itself."""
        while len(self._busy) >= self._most:  # noqa: ASYNC110 - threads end without telling a loop
            await asyncio.sleep(_LOOK_AGAIN)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def tell(result: T | None, error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(result)  # type: ignore[arg-type]  # there is one where there is no error
            else:
                done.set_exception(error)

        def carry_out() -> None:
            result, failed = None, None
            try:
                result = work()
            except BaseException as error:
                failed = error
            finally:
                self._busy.discard(threading.current_thread())
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, result, failed)

        thread = threading.Thread(target=carry_out, name=self._name, daemon=True)
        self._busy.add(thread)
        thread.start()
        return await done
