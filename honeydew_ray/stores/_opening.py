"""Opening a queue's SQLite file: looked at first, and opened only if it is whole, ours and nobody else's."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from honeydew_ray.errors import StoreDamaged, StoreError, StoreInUse
from honeydew_ray.stores import _rows, _schema, _wal

PATIENCE_S = 2.0
"""How long to wait for the process that had the file before: Ray starts a killed queue again before the old process is quite gone."""

_LOOK_AGAIN_S = 0.05

_TRANSIENT = ("full", "disk I/O", "unable to open", "readonly", "locked")  # in what SQLite says of the disk, not of the file


class _Busy(Exception):
    """Somebody else has the file open."""


def open_file(path: Path, queue: str, create: bool, patience_s: float = PATIENCE_S) -> sqlite3.Connection:
    """A connection that nobody shares, to a file that was checked and is marked as being in use.

    Raises `StoreInUse`, `StoreDamaged` or `StoreError`, which name the file and say what to do; then
    neither the file nor its write-ahead log is changed.
    """
    if not path.exists():
        if not create:
            raise StoreError(
                f"{path} is missing, and with it the jobs of queue {queue!r}. If it was moved, put it back, with its {path.name}-wal; "
                "if it lies on another node, start the queue there; to begin anew, stop the queue and start it again")
        _make(path, queue)
    if path.is_file() and path.stat().st_size == 0:  # before SQLite sees it, which would begin a database in it
        raise StoreDamaged(f"{path} is empty, and Honeydew never leaves it so: its jobs are lost unless you have a copy. "
                           "Nothing was changed; put a copy back, or give the queue another path")
    deadline = time.monotonic() + patience_s
    while True:
        try:
            _check_custody(path)
            with _looked_at(path) as connection:
                _check(connection, path, queue)
            return _take(path)
        except (_Busy, FileNotFoundError):
            if time.monotonic() > deadline:
                raise StoreInUse(f"{path} is in use: another process, or another queue of this one, has it open. Two queues cannot "
                                 "share a file; stop the other one, or give this queue another path") from None
            time.sleep(_LOOK_AGAIN_S)
        except sqlite3.Error as error:
            raise _trouble(path, error) from error
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error}") from error
        except UnicodeError as error:  # sqlite3 fails to decode what it was about to say
            raise StoreDamaged(_damage(path, str(error))) from error


def close_file(path: Path, connection: sqlite3.Connection) -> None:
    """Move all changes into the main file, and only then the mark that says so; let go of it."""
    try:
        connection.execute("PRAGMA wal_checkpoint(FULL)")
        connection.execute("UPDATE queue SET clean = 1")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except BaseException:
        _close_unclean(path, connection)
        raise
    connection.close()


def _close_unclean(path: Path, connection: sqlite3.Connection) -> None:
    """Let go of a file that may not be marked as clean, and so must keep its log, which SQLite removes if it can copy it into the file.

    To find the same changes in both does no harm.
    """
    kept = path.with_name(f"{path.name}.kept-{uuid.uuid4().hex[:8]}")
    try:
        if wal_of(path).exists():
            os.link(wal_of(path), kept)
        connection.close()
        if kept.exists() and not wal_of(path).exists():
            os.link(kept, wal_of(path))
    finally:
        connection.close()
        kept.unlink(missing_ok=True)


def wal_of(path: Path) -> Path:
    """The write-ahead log of a file: committed changes that are not in the file itself yet."""
    return path.with_name(path.name + "-wal")


def _make(path: Path, queue: str) -> None:
    try:
        _schema.make(path, queue)
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error}. It must be on a local disk, in a directory that this user may write") from error
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be made: {error}") from error


def _check_custody(path: Path) -> None:
    """Who may write the file may run code here, because it holds pickles."""
    for part in (path, wal_of(path)):
        if not part.exists():
            continue
        status = part.stat()
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{part} is not a file; give the queue the path of a file, such as photos.db")
        if status.st_uid != os.geteuid():
            raise StoreError(
                f"{part} belongs to user {status.st_uid}, and this process runs as user {os.geteuid()}. The file holds pickles, "
                "and who writes it can run code here: run the queue as its owner, or give it a file of its own")
        if status.st_mode & 0o077:
            raise StoreError(
                f"{part} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}). It holds pickles, and who writes it "
                f"can run code here. If you trust what is in it: chmod 600 {part}")


@contextmanager
def _looked_at(path: Path) -> Generator[sqlite3.Connection, None, None]:
    """A connection that leaves no trace: through other names of the same files.

    To close the last connection of a file, SQLite moves the log into it, which must not happen to a
    file that is refused. It refrains if the file's name is gone by then; hence the second names.
    """
    look = path.with_name(f"{path.name}.look-{uuid.uuid4().hex[:8]}")
    had_wal = wal_of(path).exists()
    connection: sqlite3.Connection | None = None
    try:
        os.link(path, look)
        if had_wal:
            os.link(wal_of(path), wal_of(look))
        connection = _connect(look)
        _lock(connection)
        if wal_of(path).exists() != had_wal:
            raise _Busy
        yield connection
    finally:
        look.unlink(missing_ok=True)
        if connection is not None:
            connection.close()
        wal_of(look).unlink(missing_ok=True)


def _check(connection: sqlite3.Connection, path: Path, queue: str) -> None:
    wal = wal_of(path)
    damage = _wal.find_damage(wal) if wal.exists() else None
    if damage is not None:
        raise StoreDamaged(f"{wal} is damaged: {damage}. SQLite would lose these commits in silence, so nothing was opened or changed: "
                           f"restore a copy of {path} and its log")
    _schema.check_ours(connection, path, queue)
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreDamaged(_damage(path, found))
    if _schema.version_of(connection) == _schema.VERSION:
        _check_rows(connection, path, queue)
    if not connection.execute("SELECT clean FROM queue").fetchone()[0] and not (wal.exists() and wal.stat().st_size >= _wal.HEADER_BYTES):
        raise StoreDamaged(f"{wal} is missing or empty, although the queue was not closed: committed jobs were in it. Nothing was changed "
                           f"in {path}; put the log back beside it, or restore a copy of both")


def _check_rows(connection: sqlite3.Connection, path: Path, queue: str) -> None:
    """That every row can be loaded, before anything is written to the file."""
    for row, in connection.execute(_rows.SELECT_WRONG_TYPE):
        raise StoreDamaged(_damage(path, f"a value in row {row} of its jobs is of a wrong type"))
    where = "its tables"
    try:
        connection.execute("SELECT openings, suspended, row, number, data FROM queue, buffers LIMIT 0")  # as they are used later
        for row, *values in connection.execute(_rows.SELECT_JOBS):
            where = f"row {row} of its jobs"
            _rows.load_job(queue, values)
        where = "its ended jobs"
        for values in connection.execute(f"{_rows.SELECT_ENDED} ORDER BY number"):
            _rows.load_ended(queue, values)
    except (StoreDamaged, ValueError, TypeError, KeyError) as error:
        raise StoreDamaged(_damage(path, f"{where}: {error}")) from error


def _take(path: Path) -> sqlite3.Connection:
    """Open the file to keep it: locked until this process closes it or dies, and marked as not closed."""
    connection = _connect(path)
    try:
        _lock(connection)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=4000")
        connection.execute("PRAGMA cache_size=-16000")
        connection.execute("BEGIN IMMEDIATE")
        _schema.migrate(connection)
        connection.execute("UPDATE queue SET openings = openings + 1, clean = 0")
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(FULL)")  # the mark must be in the file itself: a lost log must not take it along
    except _Busy:
        connection.close()
        raise
    except BaseException:
        _close_unclean(path, connection)
        raise
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0, isolation_level=None)


def _lock(connection: sqlite3.Connection) -> None:
    """Take the file for this connection alone; the kernel lets go of it when the process dies."""
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    try:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise _Busy from error
        raise


def _trouble(path: Path, error: sqlite3.Error) -> StoreError:
    if "not a database" in str(error):
        return StoreError(f"{path} is not a file of Honeydew, or its beginning is damaged: {error}. Nothing was changed in it; "
                          "give the queue another path, or restore a copy")
    if isinstance(error, sqlite3.OperationalError) and any(words in str(error) for words in _TRANSIENT):
        return StoreError(f"{path} cannot be opened: {error}. No job was lost or changed; free space or mend the disk, and try again")
    return StoreDamaged(_damage(path, str(error)))


def _damage(path: Path, what: str) -> str:
    return (f"{path} is damaged: {what}. Nothing was changed in it: keep it with its {path.name}-wal, restore a copy, "
            "or save what can be read with the command: sqlite3 FILE .recover")
