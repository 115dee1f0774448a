"""`edgeward relay`: reads its command line and carries streams. Exits with 2 where it cannot start."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from edgeward.relay import config, listening
from edgeward.relay.backend import Fixed, Named
from edgeward.relay.lines import say
from edgeward.relay.loop import Loop
from edgeward.relay.names import Book
from edgeward.relay.place import Address, Unusable
from edgeward.relay.program import Relay
from edgeward.relay.telling import Telling

_NEW_OBJECTS_BEFORE_A_LOOK = 50_000


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if given[:1] == ["status"]:
            return _status(given[1:])
        settings = config.read(given)
        listeners = listening.handed_over(os.environ, os.getpid()) + listening.opened(settings.listen)
        if not listeners:
            raise Unusable(
                "nothing to listen on; give --listen ADDRESS, or start it by a systemd socket unit"
            )
        told = listening.opened([settings.metrics])[0] if settings.metrics else None
    except Unusable as error:
        say("error", str(error))
        return 2
    loop = Loop()
    relay = Relay(settings, listeners, _backend(settings, loop), loop)
    relay.start()
    if told is not None:
        Telling(told, loop, relay.state)
    _look_for_cycles_seldom()
    loop.run()
    listening.close([told] if told else [])
    return 0


def _status(arguments: Sequence[str]) -> int:
    from edgeward.relay import status

    return status.main(arguments)


def _backend(settings: config.Config, loop: Loop) -> Fixed | Named:
    if isinstance(settings.target, Address):
        return Fixed(settings.target)
    from edgeward.relay.resolver import Resolver  # brings c-ares, for which others need not wait

    book = Book(settings.ttl_min, settings.ttl_max)
    return Named(settings.target, book, Resolver(loop, settings.resolvers), loop)


def _look_for_cycles_seldom() -> None:
    """A connection leaves no cycle behind; looking for some among ten thousand that live takes long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS_BEFORE_A_LOOK, 50, 100)


if __name__ == "__main__":
    sys.exit(main())
