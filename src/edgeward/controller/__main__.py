"""`python -m edgeward.controller`: exits 0 when told to end, 2 for what the starter can put right."""

from __future__ import annotations

import asyncio
import os
import sys

import uvloop

from edgeward import loading, log
from edgeward.confine import keep_memory_private
from edgeward.controller import config
from edgeward.controller.program import run
from edgeward.errors import EdgewardError, Invalid, Unavailable


def main() -> int:
    """Run the controller and give its exit code."""
    loading.done()
    os.umask(0o077)
    try:
        keep_memory_private()
        settings = config.read(sys.argv[1:], os.environ)
        log.set_up("controller", settings.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except Invalid as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201 - for the person who started it
        return 2
    except (EdgewardError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the person who started it
        return 1 if isinstance(error, Unavailable) else 2
    except Exception:
        log.logger("edgeward.controller").exception("controller failed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
