"""What Envoy would not take, as sentences about declared objects, until they change.

Of two Envoys, while one takes over from the other, each may refuse what the other takes.
"""

from __future__ import annotations

from collections.abc import Collection

from edgeward.declaration.feed import Rejection
from edgeward.node.state import Touched
from edgeward.xds import messages
from edgeward.xds.events import Refused
from edgeward.xds.snapshot import Snapshot

_MOST = 1_000
_EVERY = -1
_WORDS = {
    messages.CLUSTER: "cluster",
    messages.ENDPOINTS: "endpoints",
    messages.EXTENSION: "filter",
    messages.LISTENER: "listener",
    messages.ROUTES: "routes",
    messages.SECRET: "certificate",
}


class Rejections:
    """Bounded; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str, str], tuple[str, Rejection]] = {}
        self._serving: int | None = None

    def add(self, refused: Refused, revision: int, generation: int = 0) -> None:
        what = _WORDS.get(refused.type_url, refused.type_url)
        text = f"Envoy refuses the {what} '{refused.name}': {refused.message}"
        if refused.type_url == messages.SECRET:  # certificates are judged by all Envoys alike
            key = _EVERY, refused.type_url, refused.owner
        else:
            key = generation, refused.type_url, refused.name
        rejection = Rejection(object=refused.owner or refused.name, message=text, revision=revision)
        self._found.pop(key, None)
        self._found[key] = (refused.version, rejection)
        while len(self._found) > _MOST:
            del self._found[next(iter(self._found))]

    def settle(self, snapshot: Snapshot) -> None:
        """Forget what is no longer wanted, or wanted in another version."""
        for key, (version, _) in list(self._found.items()):
            _, type_url, name = key
            if type_url == messages.SECRET:
                continue
            wanted = snapshot.resources.get(type_url, {}).get(name)
            if wanted is None or wanted.version != version:
                del self._found[key]

    def certificates_changed(self, touched: Touched) -> None:
        """Forget what was said of certificates that are other ones now."""
        for key in list(self._found):
            _, type_url, owner = key
            name = owner.rpartition("/")[2]
            if type_url == messages.SECRET and (name in touched.suffixes or touched.hits(name)):
                del self._found[key]

    def keep(self, serving: int | None, connected: Collection[int]) -> None:
        """Forget what Envoys said that have gone, once another one serves: it says so itself."""
        self._serving = serving
        if serving is not None:
            kept = {_EVERY, *connected}
            self._found = {key: found for key, found in self._found.items() if key[0] in kept}

    def all(self) -> tuple[Rejection, ...]:
        """Give those of the Envoy that serves; where none does, all."""
        heard = None if self._serving is None else {_EVERY, self._serving}
        return tuple(r for key, (_, r) in self._found.items() if heard is None or key[0] in heard)
