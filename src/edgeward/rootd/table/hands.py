"""What a built-in action's child becomes: hands.py VERB PLACE WORD…, each word made by a type."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from edgeward.rootd import trusted
from edgeward.rootd.table import namespaces

_VERBS = {
    "create-namespace": namespaces.create,
    "remove-namespace": namespaces.remove,
}


def main(verb: str, place: str, *words: str) -> int:
    try:
        said = _VERBS[verb](Path(place), *words)
    except (OSError, namespaces.Missing, trusted.Untrusted) as error:
        said = str(error)
        code = 1
    else:
        code = 0
    print(said)  # noqa: T201 - what rootd answers
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
