"""The tables of a queue's SQLite file, and how files of older versions become new ones."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from honeydew_ray.errors import StoreError

APPLICATION_ID = int.from_bytes(b"Hndw", "big")
"""Marks a file as ours, so that another program's SQLite file is not taken for an empty queue."""

VERSION = 1

_TABLES = """
CREATE TABLE queue (
    name TEXT NOT NULL,
    openings INTEGER NOT NULL,  -- how often it was opened: part of every token
    suspended INTEGER NOT NULL,
    clean INTEGER NOT NULL      -- 0 from each opening to the next clean close: a write-ahead log must lie beside the file
);
CREATE TABLE jobs (
    changed INTEGER NOT NULL,   -- ascends with every change: tells who came first into a state
    priority INTEGER NOT NULL,
    timeout_s REAL,
    client TEXT,
    due_at REAL NOT NULL,       -- this and all times: wall clock, seconds since the epoch
    state TEXT NOT NULL,        -- pending, delayed, in_progress or abandoned
    seq INTEGER NOT NULL,       -- place in line within a priority
    attempt INTEGER NOT NULL,
    incarnation TEXT NOT NULL,
    failures INTEGER NOT NULL,
    redeliveries INTEGER NOT NULL,
    private BLOB,               -- the failure mode's note, pickled
    last_error TEXT,            -- JSON
    started_at REAL,
    completed_at REAL,
    row INTEGER PRIMARY KEY,    -- ascends with every job enqueued, so that new rows go to the end of the file
    id NOT NULL,                -- text, or JSON in a blob; unique, which the queue's memory sees to
    method TEXT NOT NULL,
    is_function INTEGER NOT NULL,
    enqueued_at REAL NOT NULL,
    nbytes INTEGER NOT NULL,    -- of the data and the buffers
    buffers INTEGER NOT NULL,   -- how many
    crc INTEGER NOT NULL,       -- of id, method, data and buffers
    data BLOB NOT NULL          -- the pickled arguments
);
CREATE TABLE buffers (          -- large blocks of bytes that were left out of the pickled arguments
    row INTEGER NOT NULL,
    number INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (row, number)
);
CREATE TABLE ended (            -- jobs that ended lately: for clients that have not heard, and ids that must not run again
    number INTEGER PRIMARY KEY,
    id NOT NULL,
    completed_at REAL NOT NULL,
    method TEXT NOT NULL,
    state TEXT NOT NULL,        -- done, moved or cancelled
    enqueued_at REAL NOT NULL,
    started_at REAL,
    failures INTEGER NOT NULL,
    redeliveries INTEGER NOT NULL,
    moved_to TEXT,
    last_error TEXT,            -- JSON
    result BLOB                 -- the pickled value; NULL if it was too large to keep
);
"""

MIGRATIONS: Mapping[int, Callable[[sqlite3.Connection], None]] = {}
"""For each older version, the step to the next one; it runs within a transaction."""


def make(path: Path, queue: str) -> None:
    """Make the file of a new queue, in mode 0600; it appears complete or not at all, and replaces nothing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new-{uuid.uuid4().hex[:8]}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(
                f"BEGIN; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION}; {_TABLES} COMMIT;")
            connection.execute("INSERT INTO queue VALUES (?, 0, 0, 1)", [queue])
        os.link(draft, path)
    except FileExistsError:
        pass  # somebody was faster; whose it is, the opening finds out
    finally:
        draft.unlink(missing_ok=True)
    _sync_directory(path.parent)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to this version, within the open transaction."""
    version = version_of(connection)
    while version < VERSION:
        MIGRATIONS[version](connection)
        version += 1
        connection.execute(f"PRAGMA user_version={version}")


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the tables."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_ours(connection: sqlite3.Connection, path: Path, queue: str) -> None:
    """Raise `StoreError` unless this is the file of this queue, in a version that can be read."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is not a file of Honeydew: it is a SQLite database of another program (application_id "
                         f"{application}). Nothing was changed in it; give the queue another path")
    version = version_of(connection)
    if version > VERSION or any(older not in MIGRATIONS for older in range(version, VERSION)):
        raise StoreError(f"{path} has version {version} of the tables, and this Honeydew knows up to {VERSION}. "
                         "Nothing was changed in it; open it with the Honeydew that wrote it, or a later one")
    name = connection.execute("SELECT name FROM queue").fetchone()[0]
    if name != queue:
        raise StoreError(f"{path} is the file of queue {name!r}, not of queue {queue!r}: each queue has a file of its own. "
                         "Nothing was changed in it; give this queue another path")


def _sync_directory(directory: Path) -> None:
    """So that the file's name outlives a loss of power, too."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
