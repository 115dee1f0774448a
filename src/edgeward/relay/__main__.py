"""`edgeward relay`: reads its command line and carries streams. Exits with 2 where it cannot start."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from edgeward.relay import config, listening
from edgeward.relay.lines import say
from edgeward.relay.loop import Loop
from edgeward.relay.place import Unusable
from edgeward.relay.program import Relay

_NEW_OBJECTS_BEFORE_A_LOOK = 50_000


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        settings = config.read(sys.argv[1:] if arguments is None else arguments)
        listeners = listening.handed_over(os.environ, os.getpid()) + listening.opened(settings.listen)
        if not listeners:
            raise Unusable(
                "nothing to listen on; give --listen ADDRESS, or start it by a systemd socket unit"
            )
    except Unusable as error:
        say("error", str(error))
        return 2
    loop = Loop()
    Relay(settings, listeners, loop).start()
    _look_for_cycles_seldom()
    loop.run()
    return 0


def _look_for_cycles_seldom() -> None:
    """A connection leaves no cycle behind; looking for some among ten thousand that live takes long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS_BEFORE_A_LOOK, 50, 100)


if __name__ == "__main__":
    sys.exit(main())
