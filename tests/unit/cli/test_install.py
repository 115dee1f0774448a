from __future__ import annotations

from pathlib import Path

import pytest

from edgeward.cli.install import why_not


@pytest.mark.parametrize("place", ["/home/ann", "/root/python", "/tmp/edgeward", "/var/tmp/e"])
def test_what_the_units_do_not_see_is_not_installed(place: str) -> None:
    hidden = why_not(Path(place))

    assert hidden is not None
    assert hidden.startswith(f"{place} cannot be run by the units, which do not see /")


def test_nor_what_is_closed_to_other_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("edgeward.cli.install._HIDDEN", ())
    tmp_path.chmod(0o755)
    assert why_not(tmp_path) is None

    tmp_path.chmod(0o700)
    assert why_not(tmp_path) == f"{tmp_path} is not for other users, and the units run as the user edgeward"
