"""What Envoy would not take, as sentences about declared objects, until they change."""

from __future__ import annotations

from edgeward.declaration.feed import Rejection
from edgeward.node.state import Touched
from edgeward.xds import messages
from edgeward.xds.events import Refused
from edgeward.xds.snapshot import Snapshot

_MOST = 1_000
_WORDS = {
    messages.CLUSTER: "cluster",
    messages.ENDPOINTS: "endpoints",
    messages.LISTENER: "listener",
    messages.ROUTES: "routes",
    messages.SECRET: "certificate",
}


class Rejections:
    """Bounded; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[str, Rejection]] = {}

    def add(self, refused: Refused, revision: int) -> None:
        what = _WORDS.get(refused.type_url, refused.type_url)
        text = f"Envoy refuses the {what} '{refused.name}': {refused.message}"
        key = refused.type_url, refused.owner if refused.type_url == messages.SECRET else refused.name
        rejection = Rejection(object=refused.owner or refused.name, message=text, revision=revision)
        self._found.pop(key, None)
        self._found[key] = (refused.version, rejection)
        while len(self._found) > _MOST:
            del self._found[next(iter(self._found))]

    def settle(self, snapshot: Snapshot) -> None:
        """Forget what is no longer wanted, or wanted in another version."""
        for type_url, name in list(self._found):
            if type_url == messages.SECRET:
                continue
            wanted = snapshot.resources.get(type_url, {}).get(name)
            if wanted is None or wanted.version != self._found[type_url, name][0]:
                del self._found[type_url, name]

    def certificates_changed(self, touched: Touched) -> None:
        """Forget what was said of certificates that are other ones now."""
        for type_url, owner in list(self._found):
            name = owner.rpartition("/")[2]
            if type_url == messages.SECRET and (name in touched.suffixes or touched.hits(name)):
                del self._found[type_url, owner]

    def all(self) -> tuple[Rejection, ...]:
        return tuple(rejection for _, rejection in self._found.values())
