from __future__ import annotations

import resource
import sqlite3
from pathlib import Path

import pytest

from edgeward.errors import Unavailable
from edgeward.node.certificates.secrets import Kept, kept, tls_certificate
from edgeward.node.sealed_copy.copying import Copying
from edgeward.node.sealed_copy.last_good import LastGood
from edgeward.sealing import Seal
from tests.unit.node.conftest import SEAL


def certificate(name: str, revision: int = 1, not_after: float = 1e9, chain: str = "chain") -> Kept:
    return kept(name, "default", revision, not_after, "ab" * 32, tls_certificate(chain, "secret key"))


def fill(copying: Copying) -> None:
    copying.begin()
    copying.put_object("domains", "default", "shop.example", {"name": "shop.example"})
    copying.put_certificate(certificate("shop.example"))
    copying.put_certificate(certificate("*.many.example"))
    copying.commit(7, "store-1")


async def test_what_was_committed_is_there_after_a_restart(copy: LastGood, tmp_path: Path) -> None:
    await copy.write(fill)
    copy.close()

    again = LastGood(tmp_path / "last-good.db", SEAL)

    assert again.since() == (7, "store-1")
    assert list(again.objects()) == [("domains", "default", "shop.example", {"name": "shop.example"})]
    assert again.find(["a.many.example", "*.many.example"], 0) == certificate("*.many.example")
    assert again.certificates() == 2
    again.close()


async def test_a_transaction_that_was_not_committed_leaves_nothing(copy: LastGood, tmp_path: Path) -> None:
    await copy.write(fill)

    def half(copying: Copying) -> None:
        copying.begin(anew=True)
        copying.put_certificate(certificate("other.example"))

    await copy.write(half)
    assert copy.find(["shop.example"], 0) is not None, "readers see what was committed"
    await copy.write(Copying.rollback)

    assert copy.since() == (7, "store-1")
    assert copy.find(["other.example"], 0) is None


async def test_beginning_anew_forgets_what_was_there(copy: LastGood) -> None:
    await copy.write(fill)

    def anew(copying: Copying) -> None:
        copying.begin(anew=True)
        copying.put_certificate(certificate("other.example"))
        copying.commit(3, "store-2")

    await copy.write(anew)

    assert copy.since() == (3, "store-2")
    assert list(copy.objects()) == []
    assert copy.find(["shop.example"], 0) is None
    assert copy.find(["other.example"], 0) is not None


async def test_an_expired_certificate_is_not_found(copy: LastGood) -> None:
    await copy.write(lambda c: c.put_certificate(certificate("a.example", not_after=100.0)))

    assert copy.find(["a.example"], 99.9) is not None
    assert copy.find(["a.example"], 100.0) is None
    assert copy.expiring(100.0) == 1


async def test_a_changed_or_moved_record_does_not_open_and_is_asked_for_again(
    copy: LastGood, tmp_path: Path
) -> None:
    await copy.write(fill)
    with sqlite3.connect(tmp_path / "last-good.db") as database:
        database.execute("UPDATE certificates SET name = 'evil.example' WHERE name = 'shop.example'")
    assert copy.since()[0] == 7

    assert copy.find(["evil.example"], 0) is None
    assert copy.damaged
    assert copy.since() == (0, "")
    assert copy.find(["a.many.example", "*.many.example"], 0) is not None, "the others are good"


async def test_a_longer_life_written_beside_the_seal_is_not_believed(copy: LastGood, tmp_path: Path) -> None:
    await copy.write(lambda c: c.put_certificate(certificate("a.example", not_after=100.0)))
    with sqlite3.connect(tmp_path / "last-good.db") as database:
        database.execute("UPDATE certificates SET not_after = 1e12")

    assert copy.find(["a.example"], 200.0) is None


async def test_another_key_begins_anew_and_puts_the_old_copy_aside(copy: LastGood, tmp_path: Path) -> None:
    await copy.write(fill)
    copy.close()

    other = LastGood(tmp_path / "last-good.db", Seal(b"o" * 32))

    assert other.since() == (0, "")
    assert other.find(["shop.example"], 0) is None
    assert (tmp_path / "last-good.db.unusable").exists()
    other.close()


async def test_a_start_on_a_full_disk_leaves_the_copy_where_it_is(copy: LastGood, tmp_path: Path) -> None:
    await copy.write(fill)
    copy.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # SQLite's shared memory does not fit any more
    try:
        with pytest.raises(Unavailable, match="its disk has space"):
            LastGood(tmp_path / "last-good.db", SEAL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    again = LastGood(tmp_path / "last-good.db", SEAL)
    assert again.since() == (7, "store-1")
    again.close()


async def test_an_obtained_certificate_never_replaces_a_newer_one(copy: LastGood) -> None:
    newer, older = certificate("a.example", 9, chain="new"), certificate("a.example", 8, chain="old")
    await copy.write(lambda c: c.put_certificate(newer))
    await copy.write(lambda c: c.keep_certificate(older))

    assert copy.find(["a.example"], 0) == newer


async def test_addresses_are_kept_sealed_and_forgotten_when_told(copy: LastGood, tmp_path: Path) -> None:
    await copy.write(lambda c: c.keep_addresses({"db.internal": ["10.0.0.7"], "old.internal": ["10.0.0.8"]}))
    await copy.write(lambda c: c.keep_addresses({"old.internal": None}))

    assert copy.addresses() == {"db.internal": ["10.0.0.7"]}


async def test_nothing_secret_stands_in_the_file(copy: LastGood, tmp_path: Path) -> None:
    await copy.write(fill)

    for path in tmp_path.iterdir():
        assert b"secret key" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0, path


async def test_a_hidden_certificate_is_not_served(copy: LastGood) -> None:
    await copy.write(fill)
    copy.hidden.add("shop.example")

    assert copy.find(["shop.example"], 0) is None
