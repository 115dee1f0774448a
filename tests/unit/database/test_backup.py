"""A store written into a file and made anew from it: everything in it as it was, or nothing at all."""

import gzip
import json
import os
import random
import stat
import subprocess
import sys

import pytest
from sqlalchemy import insert

from edgeward.database import backing_up, copying, restoring, schema
from edgeward.database.__main__ import main as command
from edgeward.database.backup_file import checked
from edgeward.database.copying import TABLES
from edgeward.database.engine import open_database
from edgeward.database.migrations import LATEST, migrate, revision_of
from edgeward.errors import Conflict, Invalid
from tests.unit.database.test_copying import everything, filled


def nothing(*_: object) -> None:
    pass


async def fill(url: str, rows: int = 30) -> None:
    database, chance = open_database(url), random.Random(5)
    async with database.writing() as writing:
        for table in TABLES:
            if table.name == "counter":
                await writing.connection.execute(table.update().values(revision=777, floor=3))
            else:
                made = [filled(table, number, chance) for number in range(rows)]
                await writing.connection.execute(insert(table), made)
    await database.close()


@pytest.fixture
def place(tmp_path):
    found = tmp_path / "state"
    found.mkdir(exist_ok=True)
    (found / "seal.key").write_bytes(b"k" * 32)
    (found / "admin.token").write_text("ew_a\n")
    return found


async def backed_up(url, place, path):
    database = open_database(url)
    try:
        return await backing_up.back_up(database, place, path, 1.7e9, nothing)
    finally:
        await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request, tmp_path):
    """Where to restore: a function of the backup that gives the store's address."""
    if request.param == "sqlite":

        async def restored(path):
            await restoring.restore_file(path, tmp_path / "new", nothing)
            return f"sqlite:///{tmp_path / 'new' / 'edgeward.db'}"

        yield restored
        return
    server = request.getfixturevalue("postgres_server")
    url = server.fresh()

    async def restored_there(path):
        await restoring.restore_database(path, url, tmp_path / "new", nothing)
        return url

    yield restored_there
    server.drop(url)


def but_its_identity(found):
    """The store's own name is a new one, so that nodes start over."""
    return {**found, "counter": [(row[0], *row[2:]) for row in found["counter"]]}


async def test_what_is_restored_is_what_was_backed_up(database_url, place, tmp_path, target, monkeypatch):
    monkeypatch.setattr(copying, "BATCH", 7)
    monkeypatch.setattr(restoring, "BATCH", 7)
    await fill(database_url)
    made = await backed_up(database_url, place, tmp_path / "backup")
    before = await everything(database_url)
    url = await target(tmp_path / "backup")
    after = await everything(url)

    assert but_its_identity(after) == but_its_identity(before)
    assert after["counter"][0][1] != before["counter"][0][1]
    assert (made.head.revision, made.rows["objects"], made.files) == (777, 30, ("seal.key", "admin.token"))
    for name in ("seal.key", "admin.token"):
        assert (tmp_path / "new" / name).read_bytes() == (place / name).read_bytes()
        assert stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600

    database = open_database(url)  # and rows to come are numbered after those
    async with database.writing() as writing:
        assert await writing.next_revision() == 778
        row = {**filled(schema.audit, 99, random.Random(1)), "revision": 778}
        del row["id"]
        result = await writing.connection.execute(
            insert(schema.audit).values(row).returning(schema.audit.c.id)
        )
        assert result.scalar_one() == 31
    await database.close()


async def test_a_store_that_is_there_is_left_as_it_is(database_url, place, tmp_path, target):
    await fill(database_url, 2)
    await backed_up(database_url, place, tmp_path / "backup")
    url = await target(tmp_path / "backup")
    before = await everything(url)
    with pytest.raises(Conflict, match=r"is there|not empty"):
        await target(tmp_path / "backup")

    assert await everything(url) == before


async def test_a_file_with_any_byte_changed_or_missing_restores_nothing(sqlite_template, place, tmp_path):
    await backed_up(f"sqlite:///{sqlite_template}", place, tmp_path / "backup")
    whole = gzip.decompress((tmp_path / "backup").read_bytes())
    chance, spoiled = random.Random(3), tmp_path / "spoiled"
    versions = [whole[: chance.randrange(len(whole))] for _ in range(20)]
    for _ in range(20):
        at = chance.randrange(len(whole))
        versions.append(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    packed = (tmp_path / "backup").read_bytes()
    for data in [
        *map(gzip.compress, versions),
        packed[:-9],
        packed[: len(packed) // 2],
        b"",
        b"version: 1\n",
    ]:
        spoiled.write_bytes(data)
        with pytest.raises(Invalid):
            await restoring.restore_file(spoiled, tmp_path / "new", nothing)

    assert not (tmp_path / "new" / "edgeward.db").exists()
    assert checked(tmp_path / "backup").schema == LATEST


async def test_what_a_killed_backup_left_behind_stands_in_nobodys_way(sqlite_template, place, tmp_path):
    path = tmp_path / "backup"
    left = tmp_path / f".backup.{os.getpid()}"
    left.write_bytes(b"half of one")

    await backed_up(f"sqlite:///{sqlite_template}", place, path)

    assert checked(path).schema == LATEST
    assert not left.exists()


async def test_a_backup_of_an_earlier_version_is_brought_up_to_date(place, tmp_path, target):
    """As that version would have written it: its schema, its rows."""
    old = f"sqlite:///{tmp_path / 'old.db'}"
    database = open_database(old)
    await migrate(database.engine, "0001")
    await database.close()
    lines = [
        {
            "edgeward": "backup",
            "format": 1,
            "version": "0.0.9",
            "schema": "0001",
            "created": 1.0,
            "revision": 4,
        }
    ]
    async with database.engine.connect() as connection:
        for table, rows in (("counter", None), ("objects", [["domains", "default", "shop.example"]])):
            found = (await connection.exec_driver_sql(f"SELECT * FROM {table}")).mappings()
            names = list(found.keys())
            values = [[row[name] for name in names] for row in found]
            if rows is not None:
                blank = {"source": "api", "value": "{}", "revision": 4, "placed": 4}
                values = [[*row, *(blank[name] for name in names[3:])] for row in rows]
            digest = copying.Content()
            for row in values:
                digest.add(dict(zip(names, row, strict=True)))
            lines += [{"table": table, "columns": names}, *values]
            lines += [{"table": table, "rows": digest.count, "sha256": digest.digest}]
    await database.close()
    import hashlib

    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    last = json.dumps({"sha256": hashlib.sha256(text).hexdigest()}).encode()
    (tmp_path / "backup").write_bytes(gzip.compress(text + last + b"\n"))

    url = await target(tmp_path / "backup")
    database = open_database(url)
    async with database.reading() as connection:
        assert await connection.run_sync(revision_of) == LATEST
    await database.close()
    assert [row.name for row in (await everything(url))["objects"]] == ["shop.example"]


async def test_a_backup_of_a_newer_version_is_refused_with_its_name(
    sqlite_template, place, tmp_path, monkeypatch
):
    monkeypatch.setattr(backing_up, "version", lambda _: "9.9.9")
    await backed_up(f"sqlite:///{sqlite_template}", place, tmp_path / "backup")
    monkeypatch.setattr(restoring, "LATEST", "0000")

    with pytest.raises(Invalid, match=r"newer Edgeward \(9\.9\.9\)"):
        await restoring.restore_file(tmp_path / "backup", tmp_path / "new", nothing)


async def test_another_key_in_the_way_is_not_overwritten(sqlite_template, place, tmp_path):
    await backed_up(f"sqlite:///{sqlite_template}", place, tmp_path / "backup")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "seal.key").write_bytes(b"x" * 32)
    with pytest.raises(Conflict, match="another key"):
        await restoring.restore_file(tmp_path / "backup", tmp_path / "new", nothing)

    assert (tmp_path / "new" / "seal.key").read_bytes() == b"x" * 32
    assert not (tmp_path / "new" / "edgeward.db").exists()


async def test_a_key_that_is_kept_elsewhere_is_named(sqlite_template, tmp_path):
    import shutil

    state = tmp_path / "state"
    state.mkdir()
    shutil.copy(sqlite_template, state / "edgeward.db")
    await fill(f"sqlite:///{state}/edgeward.db", 1)
    database = open_database(f"sqlite:///{state}/edgeward.db")
    async with database.writing() as writing:
        await writing.connection.execute(schema.seal_keys.update().values(wrapped_by="0badcafe"))
    await database.close()
    argv = [
        sys.executable,
        "-m",
        "edgeward.database",
        "backup",
        str(tmp_path / "b"),
        "--state-dir",
        str(state),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "EDGEWARD_DATABASE": ""})

    assert done.returncode == 0, done.stderr
    assert "not in it: the key that opens it (id 0badcafe)" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_whoever_may_not_look_at_the_store_is_told_so(place, capfd):
    child = os.fork()
    if child == 0:
        place.chmod(0)
        os.setuid(65534)
        os._exit(command(["backup", "out", "--state-dir", str(place)], {}))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert "Permission denied; run this as the user Edgeward runs as, or as root" in capfd.readouterr().err
