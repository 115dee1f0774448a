"""The watched file: applied when it was changed and left alone, retried where others may give way."""

from __future__ import annotations

import asyncio
import os

import pytest

from edgeward.controller.declared import file as watching
from edgeward.controller.declared.file import WatchedFile
from edgeward.errors import Conflict, Invalid
from tests.unit.controller.assembled import controller

ONE = "version: 1\ndomains: [{name: one.example}]\n"
TWO = "version: 1\ndomains: [{name: one.example}, {name: two.example}]\n"


@pytest.fixture
async def here(tmp_path):
    async with controller(tmp_path) as found:
        yield found


@pytest.fixture
def file(here, tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "_POLL", 0.05)
    (tmp_path / "edge.yaml").write_text(ONE)
    return WatchedFile(tmp_path / "edge.yaml", {}, here.parts.cases.declarations, lambda: 1_800_000_000.0)


def names(here) -> set[str]:
    return {key.name for key in here.parts.state.stored}


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_file_is_the_source_of_its_name_and_says_how_it_stands(here, file):
    await file.apply()

    (stored,) = here.parts.state.stored.values()
    assert stored.source == "file:edge.yaml"
    assert file.shown() == {
        "name": "edge.yaml",
        "state": "applied",
        "at": 1_800_000_000.0,
        "revision": 1,
        "problems": [],
    }


async def test_half_written_files_are_left_alone_until_they_are_whole(here, file, tmp_path):
    """A writer that truncates and writes slowly: what stands there in between is never applied."""
    await file.apply()
    seen = []
    task = asyncio.create_task(file.run())
    text = TWO + "# the rest\n" * 40
    for end in range(10, len(text), 12):
        (tmp_path / "edge.yaml").write_text(text[:end])
        await asyncio.sleep(0.02)
        seen.append(names(here))
    (tmp_path / "edge.yaml").write_text(text)
    await until(lambda: names(here) == {"one.example", "two.example"})
    task.cancel()

    assert all(found in ({"one.example"}, {"one.example", "two.example"}) for found in seen)
    assert file.outcome.state == "applied"


async def test_a_conflict_is_tried_again_and_a_mistake_is_not(here, file, tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "_RETRY", 0.1)
    boss = await here.token("boss", "admin")
    await here.http.put("/v1/domains/one.example", json={}, headers=boss)
    with pytest.raises(Conflict):
        await file.apply()
    task = asyncio.create_task(file.run())
    assert "domains/default/one.example (source api)" in file.shown()["problems"][0]["message"]
    await here.http.delete("/v1/domains/one.example", headers=boss)
    await until(lambda: file.outcome.state == "applied")

    (tmp_path / "edge.yaml").write_text("version: 9\n")
    await until(lambda: file.outcome.state == "refused")
    tried = file.outcome
    await asyncio.sleep(0.4)
    task.cancel()
    assert file.outcome is tried


async def test_a_change_is_seen_whatever_time_the_file_is_given(here, file, tmp_path):
    """Its mode alone may be what was wrong, and tools that copy give the copy the time of what they copied."""
    path = tmp_path / "edge.yaml"
    await file.apply()
    task = asyncio.create_task(file.run())
    before = path.stat()
    path.write_text(ONE.replace("one.", "two."))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    await until(lambda: names(here) == {"two.example"})

    applied = file.outcome
    path.chmod(0o640)
    await until(lambda: file.outcome is not applied)
    task.cancel()
    assert file.outcome.state == "applied"


async def test_references_are_read_beside_the_file(here, file, tmp_path):
    text = "version: 1\nservices: [{name: s, backends: [{url: 'https://b', tls: {ca: {file: ca.pem}}}]}]\n"
    (tmp_path / "edge.yaml").write_text(text)
    with pytest.raises(Invalid, match=r"ca\.pem: No such file"):
        await file.apply()
    (tmp_path / "ca.pem").write_text(here.parts.certified.roots())
    await file.apply()

    assert names(here) == {"s"}


async def test_a_missing_file_is_said_so_and_changes_nothing(here, file, tmp_path):
    await file.apply()
    (tmp_path / "edge.yaml").unlink()
    with pytest.raises(Invalid, match="No such file or directory"):
        await file.apply()

    assert names(here) == {"one.example"}
    assert file.outcome.revision == 1


async def test_what_is_wrong_is_told_line_by_line(here, file, tmp_path):
    routes = "".join(f"  - {{hosts: [{name}], service: nope}}\n" for name in ("a.example", "b.example"))
    (tmp_path / "edge.yaml").write_text(
        f"version: 1\nroutes:\n{routes}domains: [{{name: x.example, issuer: no}}]\n"
    )
    with pytest.raises(Invalid):
        await file.apply()
    lines = [problem["line"] for problem in file.shown()["problems"]]

    assert len(set(lines)) > 1 and lines == sorted(lines)
