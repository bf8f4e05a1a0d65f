"""Files that the SQLite store must refuse: each with an error that names it, and not a byte changed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.errors import StoreDamaged, StoreError, StoreInUse
from honeydew_ray.failure import Failure
from honeydew_ray.stores import _opening, _schema
from honeydew_ray.stores.sqlite import SQLiteStore
from honeydew_ray.testing import StoreDriver, make_job

NOW = 1_700_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 300 jobs, closed in good order."""
    path = tmp_path / "jobs.db"
    with StoreDriver(SQLiteStore(path)) as store:
        store.enqueue(*(lifecycle.enqueued(make_job(f"job-{number}", args=["x" * 100]), "test", NOW) for number in range(300)))
    return path


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def refused(path: Path, error: type[StoreError], match: str, queue: str = "test") -> None:
    before = bytes_of(path.parent)
    with pytest.raises(error, match=match) as caught:
        StoreDriver(SQLiteStore(path), queue)
    assert str(path) in str(caught.value)
    assert bytes_of(path.parent) == before, "a refused file must stay as it is"


def left_open(path: Path) -> Path:
    """The files as a killed process leaves them: with a log beside the file."""
    folder = path.parent / "killed"
    folder.mkdir()
    with StoreDriver(SQLiteStore(path)) as store:
        store.enqueue(lifecycle.enqueued(make_job("late"), "test", NOW))
        for file in path.parent.glob("jobs.db*"):
            shutil.copy(file, folder)
    return folder / path.name


def test_a_file_left_by_a_killed_process_opens_with_its_log(path: Path) -> None:
    killed = left_open(path)
    with StoreDriver(SQLiteStore(killed)) as store:
        assert store.counts().pending == 301


@pytest.mark.parametrize("left", [None, 0, 31])
def test_a_log_that_was_lost_is_noticed(path: Path, left: int | None) -> None:
    killed = left_open(path)
    wal = _opening.wal_of(killed)
    wal.unlink() if left is None else wal.write_bytes(wal.read_bytes()[:left])
    refused(killed, StoreDamaged, "missing or empty, although the queue was not closed")


def test_a_bit_flipped_in_a_job_is_noticed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.index(b"x" * 100, len(content) // 2) + 50
    content[at] ^= 1
    path.write_bytes(content)
    refused(path, StoreDamaged, "checksum")


WRONG = {
    "state": "UPDATE jobs SET state = 'dong' WHERE id = 'dead'",
    "type": "UPDATE jobs SET due_at = x'00' WHERE id = 'dead'",
    "error": "UPDATE jobs SET last_error = '{' WHERE id = 'dead'",
    "fields": "UPDATE jobs SET last_error = replace(last_error, 'signal', 'signad') WHERE id = 'dead'",
    "text": "UPDATE jobs SET last_error = CAST(x'ff7b' AS TEXT) WHERE id = 'dead'",
    "id": "UPDATE jobs SET id = x'7b' WHERE id = 'dead'",
    "ended": "UPDATE ended SET state = 'dong' WHERE id = 'told'",
    "schema": "ALTER TABLE queue RENAME COLUMN suspended TO suspendee",
}


@pytest.mark.parametrize("statement", WRONG.values(), ids=WRONG)
def test_values_that_are_never_written_are_noticed_before_anything_is(path: Path, statement: str) -> None:
    with StoreDriver(SQLiteStore(path)) as store:
        store.enqueue(*(lifecycle.enqueued(make_job(job_id, priority=1, client="c"), "test", NOW) for job_id in ("dead", "told")))
        dead, told = store.claim(2, NOW)
        store.nack(lifecycle.abandoned(dead, Failure("exception", "ValueError", "bad photo"), NOW))
        store.ack(lifecycle.succeeded(told, NOW, None))
    with closing(sqlite3.connect(path)) as connection:
        assert statement.startswith("ALTER") or connection.execute(statement).rowcount == 1
        if statement.startswith("ALTER"):
            connection.execute(statement)
        connection.commit()
    refused(path, StoreDamaged, "damaged")


def test_a_broken_page_is_noticed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:8200] = b"\xff" * 8
    path.write_bytes(content)
    refused(path, StoreDamaged, "damaged")


@pytest.mark.parametrize("size", [0, 512, 5000, -4096])
def test_a_truncated_file_is_noticed(path: Path, size: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:size])
    refused(path, StoreError, r"empty|damaged|not a file of Honeydew")


def test_files_of_others_are_refused(path: Path, tmp_path: Path) -> None:
    refused(path, StoreError, "the file of queue 'test', not of queue 'other'", queue="other")
    text = tmp_path / "notes.txt"
    text.write_text("dear diary, " * 500)
    text.chmod(0o600)
    refused(text, StoreError, "not a file of Honeydew")
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE queue (name)")
        connection.commit()
    foreign.chmod(0o600)
    refused(foreign, StoreError, "another program")
    refused(tmp_path, StoreError, "is not a file")


def test_a_file_open_to_others_is_refused(path: Path) -> None:
    path.chmod(0o644)
    refused(path, StoreError, "chmod 600")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(path: Path) -> None:
    os.chown(path, 12345, -1)
    refused(path, StoreError, "belongs to user 12345")


def test_a_missing_file_is_made_for_a_new_queue_and_refused_for_one_that_was(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "new.db")
    with pytest.raises(StoreError, match=r"new\.db is missing, and with it the jobs of queue 'test'"):
        StoreDriver(store.existing())
    assert not list(tmp_path.iterdir())
    StoreDriver(store).close()
    StoreDriver(store.existing()).close()


@pytest.mark.parametrize("given", ["", ":memory:", 7, b"bytes", "nul\0byte"])
def test_bad_paths_are_refused_where_they_are_written(given: object) -> None:
    with pytest.raises((ValueError, TypeError), match="path"):
        SQLiteStore(given)  # type: ignore[arg-type]


# -- who may have it


def test_two_cannot_have_one_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_opening.open_file, "__defaults__", (0.1,))
    with StoreDriver(SQLiteStore(path)) as store:
        with pytest.raises(StoreInUse, match=r"jobs\.db is in use"):
            StoreDriver(SQLiteStore(path))
        assert store.counts().pending == 300
    StoreDriver(SQLiteStore(path)).close()


HOLDER = """
import sys
from honeydew_ray.stores.sqlite import SQLiteStore
from honeydew_ray.testing import StoreDriver
store = StoreDriver(SQLiteStore(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_lets_go_of_its_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_opening.open_file, "__defaults__", (0.1,))
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreInUse):
            StoreDriver(SQLiteStore(path))
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with StoreDriver(SQLiteStore(path)) as store:
        assert store.counts().pending == 300


# -- versions


def test_an_older_file_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_schema, "VERSION", 2)
    refused(path, StoreError, "version 1")
    monkeypatch.setattr(_schema, "MIGRATIONS", {1: lambda connection: connection.execute("UPDATE queue SET suspended = 1")})
    with StoreDriver(SQLiteStore(path)) as store:
        assert store.opened.suspended
        assert store.counts().pending == 300
    with closing(sqlite3.connect(path)) as connection:
        assert _schema.version_of(connection) == 2


def test_a_newer_file_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")
    refused(path, StoreError, "version 99 of the tables, and this Honeydew knows up to 1")
