"""Private keys in charon, which knows them by themselves and not by the connections they are of."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from edgeward.vpn.desired import Certificate, Connection
from edgeward.vpn.drivers.strongswan import wording
from edgeward.vpn.drivers.strongswan.vici import NotDone, Talk


class Keys:
    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        """As charon says them, by its name of the peers."""

    async def load(self, talk: Talk, connection: Connection) -> str:
        """Load what a connection proves itself with; gives its id, which is ``held`` once the connection is
        taken, and blank where it has none. Raises NotDone where the key is none."""
        auth = connection.auth
        if not isinstance(auth, Certificate):
            return ""
        for words in wording.certificates(auth):
            await talk.request("load-cert", words)
        said = await talk.request("load-key", {"type": "any", "data": auth.key.reveal().encode()})
        return str(said.get("id", ""))

    def held(self, name: str, key: str) -> None:
        """Note which key is of some peers now: any other they had may go."""
        if key:
            self._ids[name] = key
        else:
            self.forget(name)

    def forget(self, name: str) -> None:
        self._ids.pop(name, None)

    async def sweep(self, talk: Talk, known: Iterable[Connection]) -> None:
        """Unload what is no connection's any more, once it is known of all which theirs are."""
        having = [one for one in known if isinstance(one.auth, Certificate) and one.enabled]
        if any(wording.peers(one) not in self._ids for one in having):
            return
        for key in (await talk.request("get-keys")).get("keys", ()):
            if key not in self._ids.values():
                with suppress(NotDone):
                    await talk.request("unload-key", {"id": key})
