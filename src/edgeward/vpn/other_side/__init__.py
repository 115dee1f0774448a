"""The configuration of a connection's other side, for whoever runs that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from edgeward.vpn.desired import Connection
from edgeward.vpn.other_side import ipsec_conf, sheet, swanctl
from edgeward.vpn.other_side.seen import Seen, seen

Form = Literal["strongswan", "libreswan", "sheet"]
FORMS: Final[Mapping[Form, Callable[[Seen], str]]] = {
    "strongswan": swanctl.written,
    "libreswan": ipsec_conf.written,
    "sheet": sheet.written,
}


def written(connection: Connection, form: Form) -> str:
    """Give the text; a secret is never in it but ``KEY_HERE`` in its place. Raises Invalid where that program
    cannot be told so.

    Additional key exchanges stand on the sheet only: a program that does not know one refuses the whole file.
    """
    return FORMS[form](seen(connection if form == "sheet" else connection.without_additional()))
