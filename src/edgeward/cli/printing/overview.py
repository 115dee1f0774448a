"""Status as people like to read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeward.cli.printing import openresty, show
from edgeward.launcher import files

Data = Mapping[str, Any]


def troubles(status: Data) -> list[str]:
    """Give what needs a person, one sentence each."""
    return list(_troubles(status))


def programs(status: Data) -> Sequence[Data]:
    """Give the programs of this host, where a supervisor keeps them."""
    return (status.get("programs") or {}).get("programs") or ()


def _troubles(status: Data) -> Iterator[str]:
    yield from _of_programs(programs(status))
    for problem in (status.get("file") or {}).get("problems") or ():
        yield f"{(status.get('file') or {}).get('name')}: {_sentence(problem)}"
    database = status.get("database") or {}
    if database.get("lost_since"):
        yield f"the database is lost, and this is what was known: {database.get('reason')}"
    for node in status.get("nodes") or ():
        yield from _troubles_of(node)
    if troubled := (status.get("orders") or {}).get("troubled"):
        more = f", and {troubled['number'] - 1} more: edgeward get orders" if troubled["number"] > 1 else ""
        yield f"no new certificate for {troubled['name']}: {troubled['problem']}{more}"
    if troubled := (status.get("tunnels") or {}).get("troubled"):
        more = f", and {troubled['number'] - 1} more: edgeward vpn status" if troubled["number"] > 1 else ""
        yield f"the tunnel {troubled['name']} is {troubled['phase']}: {troubled['reason']}{more}"
    if problem := (status.get("redis") or {}).get("problem"):
        yield f"Redis is not filled, and nodes do without it: {problem}"
    yield from openresty.troubles(status.get("openresty") or {})
    for nowhere in status.get("nowhere") or ():
        more = f" and {nowhere['objects'] - 1} more" if nowhere["objects"] > 1 else ""
        yield f"no node has the labels that {nowhere['object']}{more} asks for ({nowhere['nodes']})"


def _of_programs(programs: Sequence[Data]) -> Iterator[str]:
    for program in programs:
        if program.get("state") != "ready":
            why = program.get("last_exit") or "no reason known"
            yield f"{program.get('name')} is {program.get('state')}: {why}"


def _troubles_of(node: Data) -> Iterator[str]:
    name = node.get("name")
    if not node.get("connected"):
        yield f"node {name} is not connected"
        return
    report = node.get("report") or {}
    envoy = (report.get("envoy") or {}).get("state")
    if envoy and envoy != "serving":
        yield f"Envoy is {envoy} on node {name}"
    if failure := (report.get("envoy") or {}).get("failure"):
        yield f"Envoy's last restart on node {name} failed: {failure}"
    if problem := report.get("rootd"):
        yield f"what is up stays up, but no tunnel can be made or mended on node {name}: {problem}"
    for rejection in report.get("rejections") or ():
        yield f"node {name} refuses {rejection.get('object')}: {rejection.get('message')}"
    for key, sentence in (report.get("backends") or {}).items():
        yield f"{key} on node {name}: {sentence}"
    for key, sentence in (report.get("left_out") or {}).items():
        yield f"{key} on node {name}: {sentence}"


def _sentence(problem: object) -> str:
    if not isinstance(problem, Mapping):
        return str(problem)
    line = f"line {problem['line']}: " if problem.get("line") else ""
    where = f"{problem['field']}: " if problem.get("field") else ""
    return f"{line}{where}{problem.get('message')}"


def show_status(status: Data, now: float) -> None:
    out = show.console()
    show.line(f"Edgeward {status.get('version', '')}, revision {status.get('revision', '')}")
    certificates = status.get("certificates") or {}
    counts = ", ".join(f"{kind} {count}" for kind, count in (status.get("objects") or {}).items())
    show.line(f"objects: {counts or 'none'}")
    show.line(f"certificates: {_certificates(certificates)}")
    if phases := (status.get("tunnels") or {}).get("phases"):
        show.line(f"tunnels: {', '.join(f'{count} {phase}' for phase, count in sorted(phases.items()))}")
    file = status.get("file") or {}
    if file.get("name"):
        show.line(f"file: {file['name']}, {file.get('state', '')}")
    if programs(status):
        out.print()
        show.table(["program", "state", "since", "pid", "restarts"], _programs(programs(status), now))
    if len(controllers := status.get("controllers") or ()) > 1:
        out.print()
        show.table(["controller", "at", "version", "started"], _controllers(controllers, now))
    out.print()
    show.table(
        ["node", "connected", "seen", "labels", "revision", "envoy", "certificates", "resident", "hits"],
        _nodes(status.get("nodes") or (), now),
        empty="no node has joined",
    )
    openresty.show_status(status.get("openresty") or {}, now)
    found = troubles(status)
    out.print()
    if not found:
        out.print(show.good("everything is well"))
    for sentence in found:
        out.print(show.bad(sentence), soft_wrap=True)


def show_programs(record: Path, now: float) -> None:
    """Print what the supervisor of this host last said of its programs, where nobody answers; nothing where
    it said nothing.
    """
    said = files.read_json(record)
    listed = said.get("programs")
    found = [_as_it_is(one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    if not found:
        return
    show.table(["program", "state", "since", "pid", "restarts"], _programs(found, now))
    for sentence in _of_programs(found):
        show.console().print(show.bad(sentence), soft_wrap=True)
    if not _is_there(pid := said.get("pid")):
        show.line(f"edgeward up, which said so as process {show.shown(pid)}, is gone; start it again")


def _as_it_is(program: Data) -> Data:
    return (
        program if program.get("pid") is None or _is_there(program["pid"]) else {**program, "state": "gone"}
    )


def _is_there(pid: object) -> bool:
    return isinstance(pid, int) and Path(f"/proc/{pid}").exists()


def _certificates(counts: Data) -> str:
    total = counts.get("total", 0)
    others = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if name != "total"
    )
    return f"{total}{f' ({others})' if others else ''}"


def _programs(programs: Sequence[Data], now: float) -> Iterator[list[object]]:
    for program in programs:
        state = str(program.get("state"))
        yield [
            program.get("name"),
            show.good(state) if state == "ready" else show.bad(state),
            show.moment(program.get("since"), now),
            program.get("pid"),
            program.get("restarts"),
        ]


def _controllers(controllers: Sequence[Data], now: float) -> Iterator[list[object]]:
    for one in controllers:
        here = " (asked)" if one.get("here") else ""
        started = show.moment(one.get("started"), now)
        yield [f"{one.get('name')}{here}", one.get("url"), one.get("version"), started]


def _nodes(nodes: Sequence[Data], now: float) -> Iterator[list[object]]:
    for node in nodes:
        report = node.get("report") or {}
        resident = (report.get("cache") or {}).get("resident") or {}
        envoy = str((report.get("envoy") or {}).get("state", ""))
        asked = resident.get("hits", 0) + resident.get("misses", 0)
        yield [
            node.get("name"),
            show.good("yes") if node.get("connected") else show.bad("no"),
            show.moment(node.get("seen"), now),
            show.labels(node.get("labels")),
            report.get("revision"),
            show.good(_envoy(report)) if envoy == "serving" else show.bad(envoy),
            report.get("certificates"),
            f"{resident.get('size', 0)} of {resident.get('bound', 0)}" if resident else "",
            f"{resident['hits'] / asked:.0%}" if asked else "",
        ]


def _envoy(report: Data) -> str:
    """Say what of an Envoy that serves, and of those it has taken over from: ``serving, 1 draining``."""
    envoy = report["envoy"]
    return f"serving, {envoy['draining']} draining" if envoy.get("draining") else "serving"
