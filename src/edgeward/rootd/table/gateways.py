"""What the host's network does for gateways of tunnels, and the record of it, by which it is found again.

A record is of one keeper of a namespace: with another one, nothing of what it says is there any more.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from edgeward.rootd import trusted
from edgeward.rootd.table import (
    allowed,
    cables,
    daemons,
    filters,
    guard,
    guard_xtables,
    kernel,
    leaving,
    namespaces,
    network,
    shared,
)

_OTHERS: Final = Path("/run/netns")
"""Where namespaces stand that others made, as ip-netns(8) does."""


@dataclass(frozen=True)
class Record:
    keeper: str = ""
    network: str | None = None
    guard: str | None = None
    transit: str = ""
    lent: bool = False
    """The namespace is somebody else's."""
    half: bool = False
    """Another network was begun, and did not come to its end: what is there is neither."""


def adopt(place: Path, records: int, name: str, file: str) -> str:
    """Use somebody else's namespace, as ours are: a keeper holds it as long as it is used."""
    allowed.lent(Path(file)).namespace(name)
    there = _OTHERS / name
    if not there.exists():
        raise namespaces.Missing(f"there is no namespace {name} on this host; whoever owns it is to make it")
    if daemons.living(records, name) is not None:
        if _is_same(records, name, there):
            return f"{name} is used already"
        daemons.end(records, name)  # its owner made it anew: what is held is nobody's
    descriptor = os.open(there, os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespaces.keep(records, name, partial(kernel.enter_network, descriptor))
    finally:
        os.close(descriptor)
    _write(place, records, name, lambda record: replace(record, lent=True))
    return f"{name} is used"


def apply_network(place: Path, records: int, name: str, file: str, text: str) -> str:
    """Have the namespace be connected in this way, and in no other."""
    wanted = network.read(text)
    _lent(allowed.lent(Path(file)), wanted)
    if _read(place, records, name).lent:
        raise allowed.NotAllowed(f"{name} is somebody else's, whose network is left as it is")
    with _alone(place):
        _connect(place, records, name, wanted, text)
    return f"{name} is connected"


def _connect(place: Path, records: int, name: str, wanted: network.Network, text: str) -> None:
    others = _sharers(place, records)
    if why := shared.conflict(name, wanted, others):
        raise allowed.NotAllowed(why)
    transit = shared.transit(name, wanted, others)
    was_shared = name in others
    _write(place, records, name, lambda record: replace(record, half=True))
    if wanted.shared or was_shared:
        others.pop(name, None)
        if wanted.shared:
            cable = cables.ends(name, wanted, transit)[0].host
            others[name] = shared.Sharer(wanted, transit, cable)
        with cables.inside(records, name):
            filters.have(shared.inside_text(wanted, transit))
    cables.apply(records, name, wanted, transit)
    if wanted.shared or was_shared:
        filters.have(shared.host_text(others))
    _write(place, records, name, lambda record: replace(record, network=text, transit=transit, half=False))


def apply_guard(place: Path, records: int, name: str, relays: str, elsewhere: str, pairs: str) -> str:
    """Have these pairs of networks, and no others, be carried by tunnels or not at all."""
    with cables.inside(records, name):
        _guard(elsewhere, guard.read(pairs), _uid(relays))
    said = f"{elsewhere} {pairs}"
    _write(place, records, name, lambda record: replace(record, guard=said))
    return f"{name} is guarded"


def _guard(elsewhere: str, pairs: tuple[guard.Pairs, ...], relays: int | None) -> None:
    try:
        filters.have(guard.text(elsewhere, pairs, relays))
    except (filters.NotApplied, trusted.Untrusted) as why:
        try:
            guard_xtables.have(elsewhere, pairs, relays)
        except filters.NotApplied:
            raise why from None


def _uid(user: str) -> int | None:
    """Give whom relays run as; None where there is no such user, and so no relay."""
    try:
        return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def forget(place: Path, records: int, name: str) -> None:
    """Let go of what the host did for a namespace that ends; the guard of a lent one goes too."""
    record = _read(place, records, name)
    if record.lent and daemons.living(records, name) is not None:
        with cables.inside(records, name):
            _unguard()
    with _alone(place):
        others = _sharers(place, records)
        if others.pop(name, None) is not None:
            filters.have(shared.host_text(others))
        (place / "networks" / name).unlink(missing_ok=True)


def _unguard() -> None:
    try:
        filters.have(f"table inet {guard.TABLE} {{}}\ndelete table inet {guard.TABLE}\n")
    except (filters.NotApplied, trusted.Untrusted):
        guard_xtables.have("leave", (), None)


def observe(place: Path, records: int) -> str:
    """Say which namespaces there are, and of each what was made of it, as digests of the texts."""
    found = {}
    links = cables.present()
    for name in sorted(os.listdir(records)):
        if "." in name or not namespaces.is_held(records, name):
            continue
        record = _read(place, records, name)
        whole = _whole(record, name, links) and (not record.lent or _is_same(records, name, _OTHERS / name))
        found[name] = {
            "network": digest(record.network) if whole and not record.half else "",
            "guard": digest(record.guard) if whole else "",
            "stale": record.lent and not whole,
            "lent": record.lent,
        }
        if left := leaving.since(place, name):
            found[name]["left"] = left
    return json.dumps(found, separators=(",", ":"))


def digest(text: str | None) -> str:
    return "" if text is None else hashlib.sha256(text.encode()).hexdigest()[:16]


def _whole(record: Record, name: str, links: frozenset[str]) -> bool:
    if record.network is None:
        return True
    wanted = cables.ends(name, network.read(record.network), record.transit)
    return all(cable.host in links for cable in wanted)


def _lent(lent: allowed.Lent, wanted: network.Network) -> None:
    for bridge in {wanted.bridge, *(one.bridge for one in wanted.inside)} - {""}:
        lent.bridge(bridge)
    for address in () if wanted.bridge else wanted.outside:
        lent.address(address.partition("/")[0])
    if wanted.shared and wanted.shared not in cables.own_addresses():
        raise allowed.NotAllowed(
            f"{wanted.shared} is not an address of this host, and so cannot be shared with it"
        )


def _is_same(records: int, name: str, there: Path) -> bool:
    """Whether what is held under a name is what stands there."""
    found = daemons.living(records, name)
    if found is None:
        return False
    try:
        held, named = Path(f"/proc/{found[0]}/ns/net").stat(), there.stat()
        return (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)
    except OSError:
        return False
    finally:
        os.close(found[1])


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold off all others that change what the host does by the records of all."""
    within = trusted.made(place / "networks")
    try:
        fcntl.flock(within, fcntl.LOCK_EX)
        yield
    finally:
        os.close(within)


def _sharers(place: Path, records: int) -> dict[str, shared.Sharer]:
    """Give those that share an address of the host, by their namespaces."""
    found = {}
    for name in os.listdir(records):
        record = _read(place, records, name) if "." not in name else Record()
        wanted = network.read(record.network or "")
        if wanted.shared:
            cable = cables.ends(name, wanted, record.transit)[0].host
            found[name] = shared.Sharer(wanted, record.transit, cable)
    return found


# --- records ---------------------------------------------------------------------------------


def _read(place: Path, records: int, name: str) -> Record:
    """Give what is recorded of the namespace as it is now kept; nothing where it is another one."""
    keeper = _keeper(records, name)
    try:
        within = trusted.made(place / "networks")
        try:
            record = Record(**json.loads(trusted.file(name, within, name, most=1 << 20)))
        finally:
            os.close(within)
    except (trusted.Untrusted, ValueError, TypeError):  # not there, torn, or of another version
        return Record(keeper)
    return record if keeper and record.keeper == keeper else Record(keeper)


def _write(place: Path, records: int, name: str, change: Callable[[Record], Record]) -> None:
    record = change(_read(place, records, name))
    within = trusted.made(place / "networks")
    try:
        how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(f"{name}.next", how, 0o600, dir_fd=within), "w") as file:  # noqa: PTH123 - a descriptor
            json.dump(asdict(record), file)
        os.rename(f"{name}.next", name, src_dir_fd=within, dst_dir_fd=within)
    finally:
        os.close(within)


def _keeper(records: int, name: str) -> str:
    found = daemons.living(records, name)
    if found is None:
        return ""
    os.close(found[1])
    try:
        return trusted.file(name, records, name).decode()
    except trusted.Untrusted:  # it has gone meanwhile
        return ""
