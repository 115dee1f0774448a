"""`edgeward install systemd`: writes the units for this installation, and says what each is for."""

from __future__ import annotations

import os
import stat
import sys
import sysconfig
from pathlib import Path
from typing import Annotated, Final

import typer

from edgeward.cli.options import group
from edgeward.cli.printing import show
from edgeward.errors import NotFound, Unavailable

_PLACEHOLDER: Final = "/usr/bin/edgeward"
_PLACES: Final = {
    ".service": "etc/systemd/system",
    ".socket": "etc/systemd/system",
    ".sysusers": "etc/sysusers.d",
    ".tmpfiles": "etc/tmpfiles.d",
}
_HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - ProtectHome=, PrivateTmp=
_NEXT: Final = """
next, as root:
  systemd-sysusers && systemd-tmpfiles --create
  systemctl daemon-reload
  systemctl enable --now edgeward-controller edgeward-node edgeward-envoy{more}"""


def register(app: typer.Typer) -> None:
    group(app, "install", "Have Edgeward run by the host's service manager.", {"systemd": systemd})


def systemd(
    root: Annotated[Path, typer.Option(help="Write below this directory instead of /.")] = Path("/"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
) -> None:
    """Write Edgeward's units, its user and its directories for systemd; change them by drop-ins only.

    What is there already and differs is kept beside it, as FILE.before.
    """
    program = _program(root)
    files = sorted(path for path in _templates().iterdir() if path.suffix in _PLACES)
    for path in files:
        text = path.read_text().replace(_PLACEHOLDER, str(program))
        target = root / _PLACES[path.suffix] / _named(path)
        done = _differing(target, text) if dry_run else _write(target, text)
        show.line(f"{done:<9}  {target}")
        show.line(f"{'':<9}  {_purpose(text)}")
    more = " edgeward-rootd.socket" if any(p.name == "edgeward-rootd.socket" for p in files) else ""
    show.line(_NEXT.format(more=more))


def _templates() -> Path:
    """Find them where a wheel puts them, or in the tree that this package is run from."""
    places = (
        Path(sysconfig.get_path("data")) / "share" / "edgeward" / "systemd",
        Path(__file__).resolve().parents[3] / "deploy" / "systemd",
    )
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise NotFound(f"the units are not here: looked in {' and '.join(map(str, places))}")
    return found


def _program(root: Path) -> Path:
    """Give the command to start; raises Unavailable where a user without rights could not."""
    program = Path(sysconfig.get_path("scripts")) / "edgeward"
    if not program.exists():
        raise Unavailable(f"{program} is not there; run this from an installed Edgeward")
    if root != Path("/"):
        return program  # others' machine, others' rights
    prefixes = (Path(sys.prefix), Path(sys.base_prefix).resolve())  # the environment's, and its Python's
    parts = (
        program,
        Path(__file__).resolve().parent,
        *prefixes,
        *(p for one in prefixes for p in one.parents),
    )
    reason = next(filter(None, map(why_not, parts)), None)
    if reason is not None:
        raise Unavailable(f"{reason}; install Edgeward, and its Python, elsewhere, such as /opt/edgeward")
    return program


def why_not(part: Path) -> str | None:
    """Say why the units could not run what is there; None where they could."""
    hidden = next((place for place in _HIDDEN if part.is_relative_to(place)), None)
    if hidden is not None:
        return f"{part} cannot be run by the units, which do not see {hidden}"
    if not _for_others(part):
        return f"{part} is not for other users, and the units run as the user edgeward"
    return None


def _for_others(path: Path) -> bool:
    mode = path.stat().st_mode
    wanted = stat.S_IROTH | stat.S_IXOTH if path.is_file() else stat.S_IXOTH
    return mode & wanted == wanted


def _named(path: Path) -> str:
    return f"{path.stem}.conf" if path.suffix in (".sysusers", ".tmpfiles") else path.name


def _purpose(text: str) -> str:
    """Give the first sentence of a file's first lines of comment."""
    lines = [
        line.removeprefix("#").strip() for line in text.split("\n\n")[0].splitlines() if line.startswith("#")
    ]
    return " ".join(lines).partition(". ")[0].rstrip(".") + "."


def _differing(target: Path, text: str) -> str:
    try:
        return "unchanged" if target.read_text() == text else "differs"
    except FileNotFoundError:
        return "new"


def _write(target: Path, text: str) -> str:
    try:
        was = _differing(target, text)
        if was == "unchanged":
            return was
        target.parent.mkdir(parents=True, exist_ok=True)
        if was == "differs":
            target.replace(target.with_name(f"{target.name}.before"))
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        draft.write_text(text)
        draft.chmod(0o644)
        draft.replace(target)
        return "written"
    except OSError as error:
        raise Unavailable(f"{target}: {error.strerror}; run this as root, or name another --root") from error
