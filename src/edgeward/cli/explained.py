"""The command that says why: what is meant, asked of the API, and its way step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from edgeward.cli.connect import Api, connect, segment
from edgeward.cli.options import StateDir
from edgeward.cli.printing import show
from edgeward.domain_name import printable
from edgeward.errors import Invalid
from edgeward.url_secrets import masked

Data = Mapping[str, Any]
_KINDS: Final = {
    **dict.fromkeys(("node", "nodes"), "nodes"),
    **dict.fromkeys(("action", "actions"), "actions"),
    **dict.fromkeys(("vpn", "tunnel", "connection"), "vpn"),
    **dict.fromkeys(("relay", "relays"), "relays"),
    **dict.fromkeys(("domain", "domains", "certificate", "certificates"), ""),
}
_PATIENCE: Final = 15.0
_SIGNS: Final = {"ok": "green", "broken": "bold red"}


def register(app: typer.Typer) -> None:
    app.command()(explain)


@dataclass(frozen=True)
class Question:
    """Where to ask, and with what."""

    path: str
    where: Mapping[str, Any] = field(default_factory=dict)


def explain(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="NAME|URL|KIND/NAME",
            help="A domain name or URL, - for visitors who name none (no SNI), node/NAME, action/NAME,"
            " relay/SITE/HOST:PORT, or vpn/NAME.",
        ),
    ],
    path: Annotated[str | None, typer.Option(help="The path asked for, with a domain name.")] = None,
    node: Annotated[str | None, typer.Option("--node", help="Of an action: the node.")] = None,
    project: Annotated[str | None, typer.Option("--project", help="Of a tunnel or relay.")] = None,
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Walk the way something takes, up to the first step that is broken: why, and what to do."""
    question = question_about(subject, path, node, project)
    with connect(api, state_dir) as client:
        found = client.get(question.path, question.where, timeout=_PATIENCE)
    if output is not show.Format.table:
        show.data(found, output)
    else:
        _show(found, time.time())


def question_about(subject: str, path: str | None, node: str | None, project: str | None) -> Question:
    """Say what to ask for; raises Invalid for what nothing can be said of."""
    if path is not None and not path.startswith("/"):
        raise Invalid("a path begins with /")
    if "://" in subject:
        return _of_url(subject, path)
    kind, slash, name = subject.partition("/")
    if not slash:
        return Question(f"/v1/explain/{segment(subject)}", {"path": path or "/"})
    if "." in kind:  # a URL whose https:// was left out
        return Question(f"/v1/explain/{segment(kind)}", {"path": path or f"/{name.partition('?')[0]}"})
    if kind not in _KINDS or not name:
        raise Invalid(_unexplained(kind, subject))
    if not _KINDS[kind]:
        return Question(f"/v1/explain/{segment(name.rpartition('/')[2])}", {"path": path or "/"})
    if _KINDS[kind] == "vpn" and "/" in name:
        project, _, name = name.partition("/")
    if _KINDS[kind] == "relays":
        return _of_relay(name, project)
    where = {"nodes": {}, "actions": {"node": node}, "vpn": {"project": project}}[_KINDS[kind]]
    return Question(f"/v1/explain/{_KINDS[kind]}/{segment(name)}", where)


def _unexplained(kind: str, subject: str) -> str:
    shown = printable(subject)
    if kind in ("service", "services", "route", "routes", "listen", "cache", "tcp_route", "tcp_routes"):
        return f"there is no way to walk for '{shown}'; explain a domain name, or see edgeward get {shown}"
    return f"'{shown}' is no domain name or URL; write node/, action/, relay/ or vpn/NAME"


def _of_relay(name: str, project: str | None) -> Question:
    site, slash, place = name.rpartition("/")
    if not slash:
        raise Invalid("write a relay as relay/SITE/HOST:PORT")
    path = f"/v1/explain/relays/{segment(site)}/{segment(place)}"
    return Question(path, {"project": project})


def _of_url(url: str, path: str | None) -> Question:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Invalid(
            f"'{printable(masked(url))}' is no URL; write one as https://shop.example/cart"
        ) from None
    if parts.scheme not in ("http", "https") or not host:
        raise Invalid(
            f"'{printable(masked(url))}' is no URL of a website; write one as https://shop.example/cart"
        )
    where = {"path": path or parts.path or "/", "scheme": parts.scheme, "port": port}
    return Question(f"/v1/explain/{segment(host)}", where)


# --- for people -------------------------------------------------------------------------------


def _show(found: Data, now: float) -> None:
    out = show.console()
    name = show.shown(found.get("name") or found.get("asked"))
    well, ill = ("is served", "is not served") if found["kind"] == "name" else ("is well", "is not well")
    if found["well"]:
        out.print(show.styled(f"{name} {well}", "bold green"))
    else:
        out.print(show.styled(f"{name} {ill}: {show.shown(found['reason'])}", "bold red"), soft_wrap=True)
        out.print(show.styled(f"remedy: {show.shown(found['remedy'])}"), soft_wrap=True)
    out.print()
    show.table(["", "step", "what", "how", "since"], _steps(found["steps"], now))
    if found.get("nodes"):
        out.print()
        show.table(["node", "connected", "envoy", "certificate from", "ends"], _tiers(found["nodes"], now))
        for node in found["nodes"]:
            if why := node.get("why_not"):
                show.line(f"not on {node['name']}: {why}")
    if service := found.get("service"):
        show.line(f"backends: {show.shown(service['backends'])}")
    for note in found.get("notes") or ():
        show.line(f"note: {note}")


def _steps(steps: Sequence[Data], now: float) -> Iterator[list[object]]:
    for step in steps:
        how = step["cause"] or step["detail"]
        word = step["state"] if step["state"] in _SIGNS else "?"
        sign = show.styled(word, _SIGNS.get(word, "yellow"))
        yield [sign, step["step"], step["subject"], how, show.moment(step["since"], now)]


def _tiers(nodes: Sequence[Data], now: float) -> Iterator[list[object]]:
    for node in nodes:
        yield [
            node["name"],
            show.good("yes") if node["connected"] else show.bad("no"),
            node["envoy"],
            node["tier"],
            show.moment(node["not_after"], now),
        ]
